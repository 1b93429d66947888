package client

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/shoal-dev/shoal/proto/api"
)

// DefaultHost is where a daemon listens unless it was told otherwise.
const DefaultHost = "unix:///run/shoal/shoal.sock"

// Options for New. The files are needed for HOST:PORT only.
type Options struct {
	CACert string // PEM file: the cluster's CA
	Cert   string // PEM file: this client's certificate
	Key    string // PEM file: its key

	// RetryFor bounds how long reads are repeated while no leader answers. Zero: three seconds.
	RetryFor time.Duration
	// DialTimeout bounds one attempt to connect, until the other side has spoken. Zero: five seconds.
	DialTimeout time.Duration
}

// Client talks to one daemon. It may be used concurrently.
type Client struct {
	Control    api.ControlClient
	Local      api.LocalClient
	Containers api.ContainersClient
	Images     api.ImagesClient

	host    Host
	opts    Options
	conn    *grpc.ClientConn
	dialErr atomic.Pointer[dialFailure]
}

// dialFailure is why the last attempt to connect failed; gRPC itself only hands it on as text.
type dialFailure struct{ err error }

// New makes a client. Nothing is dialled before the first call.
func New(host string, o Options) (*Client, error) {
	h, err := ParseHost(host)
	if err != nil {
		return nil, err
	}
	creds, err := credentialsFor(h, o)
	if err != nil {
		return nil, err
	}
	c := &Client{host: h, opts: withDefaults(o)}
	c.conn, err = grpc.NewClient("passthrough:///"+h.Addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithAuthority("shoal"),
		grpc.WithContextDialer(c.dial),
		grpc.WithUnaryInterceptor(c.unary),
		grpc.WithStreamInterceptor(c.stream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: c.opts.DialTimeout}),
	)
	if err != nil {
		return nil, err
	}
	c.Control = api.NewControlClient(c.conn)
	c.Local = api.NewLocalClient(c.conn)
	c.Containers = api.NewContainersClient(c.conn)
	c.Images = api.NewImagesClient(c.conn)
	return c, nil
}

// maxMessage is what one answer may hold: a list of a million tasks is about this big.
const maxMessage = 512 << 20

func withDefaults(o Options) Options {
	if o.RetryFor == 0 {
		o.RetryFor = 3 * time.Second
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	return o
}

// Host is the daemon that this client talks to.
func (c *Client) Host() Host { return c.host }

// Close ends all calls and the connection.
func (c *Client) Close() error { return c.conn.Close() }

// dial connects and remembers why it could not, so that the caller can be told in plain words.
func (c *Client) dial(ctx context.Context, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, c.host.Network, c.host.Addr)
	if err != nil {
		c.dialErr.Store(&dialFailure{err})
		return nil, err
	}
	c.dialErr.Store(nil)
	return conn, nil
}
