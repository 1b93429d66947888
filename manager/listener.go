package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/shoal-dev/shoal/internal/identity"
)

// The protocols of the cluster port, as ALPN names.
const (
	protoGRPC = "h2"
	protoRaft = "shoal-raft"
)

const handshakeTimeout = 5 * time.Second

// listener shares one port: after the TLS handshake a connection goes to gRPC or to Raft, as the client
// has asked by ALPN. Raft is for managers only, and who shows no certificate has a gRPC server apart.
type listener struct {
	net.Listener
	tls     *tls.Config
	mayRaft func(nodeID string) bool
	log     *slog.Logger
	grpc    *handed
	open    *handed // gRPC of those who show no certificate
	raft    *handed
}

func newListener(l net.Listener, i *identity.Identity, mayRaft func(string) bool, log *slog.Logger) *listener {
	return &listener{
		Listener: l, tls: i.ServerTLS(protoGRPC, protoRaft), mayRaft: mayRaft, log: log,
		grpc: newHanded(l.Addr()), open: newHanded(l.Addr()), raft: newHanded(l.Addr()),
	}
}

// run accepts until ctx ends.
func (l *listener) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return ctx.Err()
		}
		if err != nil { // out of descriptors, say: wait for better times
			l.log.Warn("accepting a connection failed", "error", err)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		wg.Go(func() { l.handle(ctx, c) })
	}
}

func (l *listener) handle(ctx context.Context, raw net.Conn) {
	c := tls.Server(raw, l.tls)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		l.log.Debug("a handshake on the cluster port failed", "from", raw.RemoteAddr(), "error", err)
		raw.Close()
		return
	}
	if err := l.hand(c); err != nil {
		l.log.Warn("a connection was refused", "from", raw.RemoteAddr(), "error", err)
		c.Close()
	}
}

func (l *listener) hand(c *tls.Conn) error {
	state := c.ConnectionState()
	switch state.NegotiatedProtocol {
	case protoGRPC:
		if len(state.PeerCertificates) == 0 {
			return l.open.give(c)
		}
		return l.grpc.give(c)
	case protoRaft:
		info, ok := identity.Peer(state)
		if !ok || info.Role != identity.Manager {
			return fmt.Errorf("raft is for managers, not for %q", info.NodeID)
		}
		if !l.mayRaft(info.NodeID) {
			return fmt.Errorf("node %s is not a member of the raft group", info.NodeID)
		}
		return l.raft.give(c)
	}
	return fmt.Errorf("it speaks none of our protocols")
}

// Close ends its parts, too.
func (l *listener) Close() error {
	l.grpc.Close()
	l.open.Close()
	l.raft.Close()
	return l.Listener.Close()
}

// mayRaft says whether a manager's Raft streams are welcome. While this manager follows a leader, or leads, it knows
// the members. Without a leader it may have missed that one was added, and must not shut it out.
func (m *Manager) mayRaft(nodeID string) bool {
	if !m.raft.Started() {
		return false
	}
	leader, _ := m.raft.Leader()
	return leader == "" || leader == nodeID || m.raft.IsMember(nodeID)
}

// dialer opens a connection to HOST:PORT.
type dialer func(ctx context.Context, addr string) (net.Conn, error)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// dialRaft opens a Raft stream to a manager, making sure that it is that one.
func (m *Manager) dialRaft(ctx context.Context, nodeID, addr string) (net.Conn, error) {
	return m.dialTLS(ctx, addr, m.cfg.Identity.RaftTLS(nodeID, protoRaft))
}

func (m *Manager) dialTLS(ctx context.Context, addr string, cfg *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	raw, err := m.cfg.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

// handed is a listener of connections that were accepted elsewhere.
type handed struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHanded(a net.Addr) *handed {
	return &handed{addr: a, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handed) give(c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done:
		return net.ErrClosed
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handed) Addr() net.Addr { return h.addr }

// handshaken are credentials for connections whose handshake is over.
type handshaken struct{}

func (handshaken) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	t, ok := c.(*tls.Conn)
	if !ok {
		return nil, nil, errors.New("connection without TLS")
	}
	return c, credentials.TLSInfo{
		State:          t.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("for servers only")
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (h handshaken) Clone() credentials.TransportCredentials { return h }
func (handshaken) OverrideServerName(string) error           { return nil }
