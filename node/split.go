package node

import (
	"net"
	"time"

	"github.com/shoal-dev/shoal/internal/execwire"
)

// speakWithin is how long a connection may take to say what it speaks.
const speakWithin = 10 * time.Second

// split is a listener whose connections speak gRPC; those that speak execwire it hands to another function. One byte
// tells them apart, and one socket for both means that nobody ever talks to two daemons.
type split struct {
	net.Listener
	short func(net.Conn)
	grpc  chan net.Conn
	done  chan struct{}
	err   error // why there is nothing more to accept; valid once done is closed
}

func newSplit(l net.Listener, short func(net.Conn)) *split {
	return &split{Listener: l, short: short, grpc: make(chan net.Conn), done: make(chan struct{})}
}

// run sorts connections until the listener is closed.
func (s *split) run() error {
	defer close(s.done)
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			s.err = err
			return nil // who serves is told
		}
		go s.sort(c)
	}
}

func (s *split) sort(c net.Conn) {
	first := make([]byte, 1)
	c.SetReadDeadline(time.Now().Add(speakWithin))
	if _, err := c.Read(first); err != nil {
		c.Close()
		return
	}
	begun := &begunConn{c, first}
	if first[0] == execwire.Preface[0] {
		s.short(begun) // which reads on, and in the same time
		return
	}
	c.SetReadDeadline(time.Time{})
	select {
	case s.grpc <- begun:
	case <-s.done:
		c.Close()
	}
}

// Accept gives the next connection that speaks gRPC.
func (s *split) Accept() (net.Conn, error) {
	select {
	case c := <-s.grpc:
		return c, nil
	case <-s.done:
		return nil, s.err
	}
}

// begunConn is a connection from which something has been read.
type begunConn struct {
	net.Conn
	read []byte
}

func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
