//go:build linux

package network

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
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

// No socket holds a port of SCTP, but only one container can have it.
func TestSCTPPortIsHeld(t *testing.T) {
	m := &Manager{own: true, networks: map[string]*api.LocalNetwork{}, attached: map[string]Attachment{}, holds: map[string][]*hold{}}
	port := func(ip string) []*api.PortBinding {
		return []*api.PortBinding{{Protocol: "sctp", HostIp: ip, HostPort: 5000, ContainerPort: 5000}}
	}
	for _, tt := range []struct {
		container, ip string
		taken         bool
	}{{"one", "127.0.0.1", false}, {"two", "", true}, {"three", "127.0.0.2", false}, {"one", "127.0.0.1", false}} {
		if _, err := m.Reserve(t.Context(), tt.container, nil, port(tt.ip)); errors.Is(err, ErrInUse) != tt.taken || err != nil != tt.taken {
			t.Errorf("%s on %q: %v", tt.container, tt.ip, err)
		}
	}
}
