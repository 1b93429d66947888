//go:build linux

package network

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// acceptAgain is how long a proxy waits when it cannot accept.
const acceptAgain = 100 * time.Millisecond

// proxy passes connections to a held port on to the container.
type proxy struct {
	l    net.Listener
	to   func() []netip.AddrPort // tried in order
	dial func(netip.AddrPort) (net.Conn, error)
	mu   sync.Mutex
	open map[net.Conn]bool // nil once closed
}

func newProxy(l net.Listener, to func() []netip.AddrPort, dial func(netip.AddrPort) (net.Conn, error)) *proxy {
	p := &proxy{l: l, to: to, dial: dial, open: map[net.Conn]bool{}}
	go p.accept()
	return p
}

// Close ends the listener and all connections.
func (p *proxy) Close() {
	p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
	p.open = nil
}

func (p *proxy) accept() {
	for {
		c, err := p.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptor is left, for example
			time.Sleep(acceptAgain)
			continue
		}
		go p.pass(c)
	}
}

// track remembers a connection so that Close ends it; false once closed.
func (p *proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	p.open[c] = true
	return true
}

func (p *proxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *proxy) pass(client net.Conn) {
	defer p.forget(client)
	if !p.track(client) {
		return
	}
	for _, to := range p.to() {
		server, err := p.dial(to)
		if err != nil {
			continue
		}
		defer p.forget(server)
		if p.track(server) {
			join(client.(*net.TCPConn), server.(*net.TCPConn))
		}
		return
	}
}

// join copies both ways; an end of input is passed on, the other way goes on.
func join(a, b *net.TCPConn) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(a, b); a.CloseWrite() })
	wg.Go(func() { io.Copy(b, a); b.CloseWrite() })
	wg.Wait()
}
