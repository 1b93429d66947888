//go:build linux

package network

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
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
