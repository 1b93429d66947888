package raft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/shoal-dev/shoal/internal/durable"
)

// streams is raft's StreamLayer. Raft's addresses are node IDs; where a node is now is looked up
// at each dial, so that a manager may change its address.
type streams struct {
	cfg      Config
	peers    *peers
	own      chan net.Conn // streams to itself
	accepted chan net.Conn
	closed   chan struct{}

	mu   sync.Mutex
	open map[*stream]bool // accepted and not closed; nil once all are
}

// stream is a connection that streams may have to close: raft only ever closes those that it has dialled.
type stream struct {
	net.Conn
	in *streams
}

// Read implements net.Conn. A stream that we have closed ends like any other: raft would warn of it.
func (c *stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = io.EOF
	}
	return n, err
}

// Close implements net.Conn.
func (c *stream) Close() error {
	c.in.mu.Lock()
	delete(c.in.open, c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// keep makes a connection end with s.
func (s *streams) keep(c net.Conn) net.Conn {
	k := &stream{c, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		c.Close()
	} else {
		s.open[k] = true
	}
	return k
}

func newStreams(cfg Config, p *peers) *streams {
	s := &streams{cfg: cfg, peers: p, own: make(chan net.Conn), accepted: make(chan net.Conn), closed: make(chan struct{}), open: map[*stream]bool{}}
	go s.accept()
	return s
}

// accept takes streams from the listener until that is closed.
func (s *streams) accept() {
	for {
		c, err := s.cfg.Listener.Accept()
		if err != nil {
			return
		}
		select {
		case s.accepted <- c:
		case <-s.closed:
			c.Close()
		}
	}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case c := <-s.accepted:
		return s.keep(c), nil
	case c := <-s.own:
		return s.keep(c), nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *streams) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		close(s.closed)
	}
	for c := range s.open {
		c.Conn.Close()
	}
	s.open = nil
	return s.cfg.Listener.Close()
}

// Addr implements net.Listener; raft takes it for this server's own address.
func (s *streams) Addr() net.Addr { return nodeAddr(s.cfg.ID) }

// Dial implements raft.StreamLayer.
func (s *streams) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if string(id) == s.cfg.ID {
		return s.dialSelf()
	}
	addr, ok := s.peers.get(string(id))
	if !ok {
		return nil, fmt.Errorf("dial manager %s: its address is not known", id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.cfg.Dial(ctx, string(id), addr)
}

func (s *streams) dialSelf() (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case s.own <- b:
		return a, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// nodeAddr is a node ID in the place of a network address.
type nodeAddr string

func (nodeAddr) Network() string  { return "shoal" }
func (a nodeAddr) String() string { return string(a) }

// peers is where the other managers were last seen. It is on disk, because the store, which knows
// better, cannot be filled before they have been reached.
type peers struct {
	path string
	mu   sync.Mutex
	addr map[string]string
}

func loadPeers(path string, log *slog.Logger) (*peers, error) {
	p := &peers{path: path, addr: map[string]string{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read addresses of managers %s: %w", path, err)
	}
	var addr map[string]string
	if err := json.Unmarshal(b, &addr); err != nil {
		// No reason to stay out: the others know this manager, and their leader's log has all addresses.
		log.Warn("the addresses of the other managers are damaged, they will be learnt anew", "file", path, "error", err)
		return p, nil
	}
	maps.Copy(p.addr, addr)
	return p, nil
}

func (p *peers) get(id string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addr, ok := p.addr[id]
	return addr, ok && addr != ""
}

func (p *peers) all() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.addr)
}

func (p *peers) set(id, addr string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.addr[id] == addr {
		return nil
	}
	p.addr[id] = addr
	if addr == "" {
		delete(p.addr, id)
	}
	b, err := json.Marshal(p.addr)
	if err != nil {
		return err
	}
	if err := durable.Write(p.path, b, 0o600); err != nil {
		return fmt.Errorf("store addresses of managers: %w", err)
	}
	return nil
}
