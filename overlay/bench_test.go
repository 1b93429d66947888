//go:build linux

package overlay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// pin puts every thread of this process on one CPU until the benchmark ends: a wake-up across CPUs costs more than all
// that is measured here.
func pin(b *testing.B) {
	var old, one unix.CPUSet
	must(b, unix.SchedGetaffinity(0, &old))
	one.Set(0)
	all := func(set *unix.CPUSet) {
		tasks, _ := os.ReadDir("/proc/self/task")
		for _, t := range tasks {
			id, _ := strconv.Atoi(t.Name())
			_ = unix.SchedSetaffinity(id, set)
		}
	}
	all(&one)
	b.Cleanup(func() { all(&old) })
}

// acceptor takes connections inside a place and closes them, on a thread of its own with plain system calls.
func acceptor(b *testing.B, p *place, port int) {
	fds := make(chan int, 1)
	must(b, p.ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		fds <- fd
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &unix.SockaddrInet4{Port: port}), unix.Listen(fd, 1024))
	}))
	fd := <-fds
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for {
			c, _, err := unix.Accept(fd)
			if err != nil {
				return
			}
			unix.Write(c, []byte{1})
			unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			unix.Close(c)
		}
	}()
	b.Cleanup(func() { unix.Shutdown(fd, unix.SHUT_RDWR); <-done; unix.Close(fd) })
}

func connectLoop(b *testing.B, p *place, to netip.AddrPort) {
	b.Helper()
	must(b, p.ns.Do(func() error {
		var buf [1]byte
		b.ResetTimer()
		for range b.N {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
				return fmt.Errorf("connect to %s: %w", to, err)
			}
			unix.Read(fd, buf[:])
			unix.Close(fd)
		}
		b.StopTimer()
		return nil
	}))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "conn/s")
}

// BenchmarkConnect opens connections one after the other between two hosts: without us, from container to container,
// through a virtual address, and from a client to a published port on the backend's host and on another.
func BenchmarkConnect(b *testing.B) {
	l := newLab(b, 2, false)
	for _, h := range l.hosts {
		l.start(h)
	}
	l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
	l.model.Services = []Service{{ID: "web", Name: "web", VIPs: map[string][]netip.Addr{"app": {netip.MustParseAddr("10.10.0.2")}},
		Ports: []Port{{Protocol: "tcp", Target: 80, Published: 8080}}}}
	c := l.container(l.hosts[0], "c", "", 11, "app")
	s := l.container(l.hosts[1], "s", "web", 12, "app")
	l.settle()
	for _, h := range l.hosts {
		l.stop(h)
		for _, p := range []*place{h.place, l.sandboxPlace(h, "app")} {
			must(b, p.ns.Do(func() error { // or the table of tracked connections fills
				for _, state := range []string{"close", "time_wait", "last_ack", "fin_wait", "close_wait"} {
					_ = os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_"+state, []byte("1"), 0o644)
				}
				return nil
			}))
		}
	}
	pin(b)
	acceptor(b, s.place, 80)
	acceptor(b, l.hosts[1].place, 81)
	for name, x := range map[string]struct {
		from *place
		to   string
	}{
		"direct":         {l.hosts[0].place, "192.168.77.2:81"},
		"overlay":        {c.place, "10.10.0.12:80"},
		"vip":            {c.place, "10.10.0.2:80"},
		"ingress-local":  {l.client, "192.168.77.2:8080"},
		"ingress-remote": {l.client, "192.168.77.1:8080"},
	} {
		b.Run(name, func(b *testing.B) { connectLoop(b, x.from, netip.MustParseAddrPort(x.to)) })
	}
}

// BenchmarkAttach wires and unwires a container on a node that has one already.
func BenchmarkAttach(b *testing.B) {
	l := newLab(b, 1, false)
	l.start(l.hosts[0])
	l.network("app", 5001, "10.10.0.0/24", "fd10::/64")
	l.container(l.hosts[0], "first", "", 11, "app")
	c := l.container(l.hosts[0], "c", "", 12, "app")
	l.settle()
	l.stop(l.hosts[0])
	o := l.hosts[0].o
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		must(b, o.Detach(context.Background(), "c"))
		b.StartTimer()
		must(b, o.Attach(context.Background(), c.a))
	}
}
