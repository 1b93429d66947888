//go:build linux

package network

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// poor is a listener of a process that has no descriptor left for a moment.
type poor struct {
	net.Listener
	failed atomic.Bool
}

func (p *poor) Accept() (net.Conn, error) {
	if p.failed.CompareAndSwap(false, true) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: unix.EMFILE}
	}
	return p.Listener.Accept()
}

func TestProxyOutlivesWantOfDescriptors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 1)
	p := newProxy(&poor{Listener: l}, func() []netip.AddrPort { asked <- true; return nil }, nil)
	defer p.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-asked
}
