//go:build linux

package network

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// Many administrators switch IPv6 off on all interfaces of a host, those to come as well.
func TestHostWithoutIPv6(t *testing.T) {
	l := newLab(t)
	err := l.host.do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	l.run("a", []string{Bridge}, port(8080, 80))
	b := l.run("b", []string{Bridge})
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "a")
	for i := range 2 {
		b.wantAnswer("tcp", at6(l.address("a", i), "80"), "a")
	}
	l.outside.wantNoAnswer("tcp", at6(hostAddr6, "8080"))
	l.stop("a")
	l.stop("b")
	l.wantNothingLeft()
}

// A host may be told to have no IPv6 at all when it has networks already.
func TestKernelLosesIPv6(t *testing.T) {
	l := newLab(t)
	l.m.ipv6 = false
	a := l.run("a", []string{Bridge}, port(8080, 80))
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "a")
	for _, s := range []*space{l.host, a} {
		addrs, err := s.nl.AddrList(nil, unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range addrs {
			if addr.IP.IsPrivate() {
				t.Errorf("%s has %s", s.path, addr)
			}
		}
	}
	l.stop("a")
	l.wantNothingLeft()
}

// A container may have none of its own accord: --sysctl net.ipv6.conf.all.disable_ipv6=1.
func TestContainerWithoutIPv6(t *testing.T) {
	l := newLab(t)
	l.create(&api.LocalNetwork{Name: "more", Ipv6: true})
	a := newSpace(t, "a")
	off := func() error {
		return errors.Join(writeSysctl("net/ipv6/conf/all/disable_ipv6", "1"), writeSysctl("net/ipv6/conf/default/disable_ipv6", "1"))
	}
	if err := a.do(off); err != nil {
		t.Fatal(err)
	}
	if err := l.try("a", a.path, []string{Bridge, "more"}, port(8080, 80)); err != nil {
		t.Fatal(err)
	}
	a.serve("a", 80)
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "a")
	row := l.rows["a"]
	row.Endpoints = row.Endpoints[1:] // it leaves the network that has led outside
	l.rows["a"] = row
	if err := l.m.Attach(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "a")
	l.stop("a")
	l.wantNothingLeft()
}
