//go:build linux

package network

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/proto/api"
)

// advertise says to a whole link that the sender is its router, as who has NET_RAW can.
func advertise(link string) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
		return err
	}
	l, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	message := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0} // for half an hour
	to := &unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 2, 15: 1}, ZoneId: uint32(l.Index)}
	return unix.Sendto(fd, message, 0, to)
}

// CVE-2020-13401: a container that calls itself a router does not become the host's.
func TestContainersAreNoRouters(t *testing.T) {
	l := newLab(t)
	l.create(&api.LocalNetwork{Name: "one"})
	s := l.run("rogue", []string{"one"})
	n, err := l.m.Get("one")
	if err != nil {
		t.Fatal(err)
	}
	setting := func(link string) string {
		var text []byte
		err := l.host.do(func() (err error) {
			text, err = os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/accept_ra")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	for link, want := range map[string]string{"default": "1", n.Bridge: "0", "up0": "2"} {
		if got := setting(link); got != want {
			t.Errorf("accept_ra of %s is %s, want %s", link, got, want)
		}
	}
	learned := func() bool {
		routes, err := l.host.nl.RouteList(must(l.host.nl.LinkByName(n.Bridge)), unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Protocol == unix.RTPROT_RA {
				return true
			}
		}
		return false
	}
	send := func() bool { // until its address is there it cannot
		return s.do(func() error { return advertise("eth0") }) == nil
	}
	sent := 0
	poll.Until(20*time.Second, func() bool {
		if send() {
			sent++
		}
		return sent == 5
	})
	if sent == 0 || poll.Until(200*time.Millisecond, learned) {
		t.Fatalf("%d advertisements, and the host has a route from a container", sent)
	}
	// A host that listens learns it: the attempt is one.
	err = l.host.do(func() error { return writeSysctl("net/ipv6/conf/"+n.Bridge+"/accept_ra", "2") })
	if err != nil {
		t.Fatal(err)
	}
	if !poll.Until(20*time.Second, func() bool { send(); return poll.Until(100*time.Millisecond, learned) }) {
		t.Error("a bridge that listens learns nothing: the attempt proves nothing")
	}
}
