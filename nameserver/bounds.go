//go:build linux

package nameserver

import (
	"net"
	"sync"
)

// What one pair of sockets has open at a time. A question about others may wait for a resolver that does not answer, and takes a
// descriptor and perhaps a thread of this process meanwhile: a container that asks without end must not take all there are.
const (
	maxQuestions   = 1024
	maxConnections = 128
)

// boundedListener accepts so many connections at a time; more of them wait in the kernel.
type boundedListener struct {
	net.Listener
	slots chan struct{}
	ended chan struct{}
	end   sync.Once
}

func newBoundedListener(l net.Listener) *boundedListener {
	return &boundedListener{Listener: l, slots: make(chan struct{}, maxConnections), ended: make(chan struct{})}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundedConn{Conn: c, give: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *boundedListener) Close() error {
	l.end.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	give func()
}

func (c *boundedConn) Close() error {
	defer c.give()
	return c.Conn.Close()
}
