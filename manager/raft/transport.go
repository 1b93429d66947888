package raft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streams is raft's StreamLayer. Raft's addresses are node IDs; where a node is now is looked up
// at each dial, so that a manager may change its address.
type streams struct {
	net.Listener
	dial  func(ctx context.Context, nodeID, addr string) (net.Conn, error)
	peers *peers
}

// Dial implements raft.StreamLayer.
func (s *streams) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	addr, ok := s.peers.get(string(id))
	if !ok {
		return nil, fmt.Errorf("dial manager %s: its address is not known", id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dial(ctx, string(id), addr)
}

// nodeAddr is a node ID in the place of a network address.
type nodeAddr string

func (nodeAddr) Network() string  { return "shoal" }
func (a nodeAddr) String() string { return string(a) }

// named gives a listener a node ID as its address, which raft takes for this server's own.
type named struct {
	net.Listener
	id string
}

func (n named) Addr() net.Addr { return nodeAddr(n.id) }

// peers is where the other managers were last seen. It is on disk, because the store, which knows
// better, cannot be filled before they have been reached.
type peers struct {
	path string
	mu   sync.Mutex
	addr map[string]string
}

func loadPeers(path string) (*peers, error) {
	p := &peers{path: path, addr: map[string]string{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p.addr)
	}
	if err != nil {
		return nil, fmt.Errorf("read addresses of managers %s: %w", path, err)
	}
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
	next := p.path + ".next"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return fmt.Errorf("store addresses of managers: %w", err)
	}
	return os.Rename(next, p.path)
}
