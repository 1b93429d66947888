package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"": DefaultHost, "unix:///a/b.sock": "unix:///a/b.sock", "10.0.0.1:2377": "10.0.0.1:2377", "tcp://h:1": "h:1", "[::1]:2377": "[::1]:2377",
	} {
		if h, err := ParseHost(in); err != nil || h.String() != want {
			t.Errorf("ParseHost(%q) = %v, %v, want %s", in, h, err, want)
		}
	}
	for _, bad := range []string{"unix://a", "host", "http://h:1", "h:", ":1"} {
		if _, err := ParseHost(bad); err == nil {
			t.Errorf("ParseHost(%q) took it", bad)
		}
	}
}

// server counts calls and fails as told.
type server struct {
	api.UnimplementedControlServer
	calls, fail atomic.Int32
	code        codes.Code
}

func (s *server) answer() error {
	s.calls.Add(1)
	if s.fail.Add(-1) >= 0 {
		return status.Error(s.code, "no leader:\n1 of 3 managers answer")
	}
	return nil
}

func (s *server) ListNodes(context.Context, *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	return &api.ListNodesResponse{}, s.answer()
}

func (s *server) CreateService(context.Context, *api.CreateServiceRequest) (*api.CreateServiceResponse, error) {
	return &api.CreateServiceResponse{}, s.answer()
}

func (s *server) Watch(_ *api.WatchRequest, w grpc.ServerStreamingServer[api.WatchMessage]) error {
	return s.answer()
}

func serve(t *testing.T, s *server) *Client {
	t.Helper()
	return serveFor(t, s, 20*time.Second)
}

// serveFor gives a client that repeats reads for so long.
func serveFor(t *testing.T, s *server, retryFor time.Duration) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	api.RegisterControlServer(g, s)
	go g.Serve(l)
	c, err := New("unix://"+l.Addr().String(), Options{RetryFor: retryFor})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		g.Stop()
		os.RemoveAll(dir)
	})
	return c
}

func TestRetry(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name  string
		fail  int32
		code  codes.Code
		call  func(*Client) error
		ok    bool
		calls int32 // 0: several
	}{
		{"a read during an election", 2, codes.Unavailable, read(ctx), true, 3},
		{"a read that is wrong", 1, codes.InvalidArgument, read(ctx), false, 1},
		{"a write is never repeated", 1, codes.Unavailable, write(ctx), false, 1},
		{"a read without an end", 1000, codes.Unavailable, read(ctx), false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &server{code: tc.code}
			s.fail.Store(tc.fail)
			retryFor := 20 * time.Second // how long a busy machine takes for the few that are counted
			if tc.calls == 0 {
				retryFor = 400 * time.Millisecond
			}
			err := tc.call(serveFor(t, s, retryFor))
			if (err == nil) != tc.ok {
				t.Fatalf("got %v", err)
			}
			if got := s.calls.Load(); tc.calls != 0 && got != tc.calls || got == 0 {
				t.Errorf("%d calls, want %d", got, tc.calls)
			}
			if err != nil && (err.Error() != "no leader: 1 of 3 managers answer" || CodeOf(err) != tc.code) {
				t.Errorf("got %q, code %v", err, CodeOf(err))
			}
		})
	}
}

func read(ctx context.Context) func(*Client) error {
	return func(c *Client) error {
		_, err := c.Control.ListNodes(ctx, &api.ListNodesRequest{})
		return err
	}
}

func write(ctx context.Context) func(*Client) error {
	return func(c *Client) error {
		_, err := c.Control.CreateService(ctx, &api.CreateServiceRequest{})
		return err
	}
}

// TestOlderDaemon: a method that the daemon does not have, or asks its cluster for as the first daemons did, is a matter of versions.
func TestOlderDaemon(t *testing.T) {
	c := serve(t, &server{})
	for method, s := range map[string]*status.Status{
		api.Images_List_FullMethodName:           status.New(codes.Unimplemented, "unknown method List"),
		api.Containers_Rename_FullMethodName:     status.New(codes.FailedPrecondition, "this node is not in a cluster: run 'shoal cluster init'"),
		api.Containers_Prune_FullMethodName:      status.New(codes.FailedPrecondition, "this node is a worker: run this on a manager"),
		api.Control_CreateService_FullMethodName: status.New(codes.Unimplemented, "field 7 of ServiceSpec, on the cluster's manager"),
	} {
		err := c.clean(t.Context(), method, s.Err())
		if CodeOf(err) != codes.Unimplemented || !strings.Contains(err.Error(), "it is of an older version than this command") {
			t.Errorf("%s: %v", method, err)
		}
	}
	err := c.clean(t.Context(), api.Control_CreateService_FullMethodName, status.Error(codes.FailedPrecondition, "this node is not in a cluster"))
	if CodeOf(err) != codes.FailedPrecondition || err.Error() != "this node is not in a cluster" {
		t.Errorf("a request to the cluster: %v", err)
	}
}

func TestStreamErrors(t *testing.T) {
	// A deadline or a cancellation of the daemon's own is not ours.
	for _, code := range []codes.Code{codes.NotFound, codes.DeadlineExceeded, codes.Canceled} {
		s := &server{code: code}
		s.fail.Store(1)
		w, err := serve(t, s).Control.Watch(context.Background(), &api.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Recv()
		if CodeOf(err) != code || err.Error() != "no leader: 1 of 3 managers answer" || errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	c, err := New("unix:///nowhere/shoal.sock", Options{RetryFor: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // an election may pass, this does not
	defer cancel()
	err = read(ctx)(c)
	if err == nil || !strings.HasPrefix(err.Error(), "cannot connect to the Shoal daemon at unix:///nowhere/shoal.sock") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if e := c.unreachable(&net.OpError{Err: os.NewSyscallError("connect", os.ErrPermission)}); !strings.Contains(e.Error(), "group shoal") {
		t.Errorf("got %v", e)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := read(ctx)(serve(t, &server{}))
	if !errors.Is(err, context.Canceled) || err.Error() != "interrupted" {
		t.Errorf("got %v", err)
	}
}

// Another program's socket is told from a daemon that is not there.
func TestWrongSocket(t *testing.T) {
	for name, answer := range map[string]func(net.Conn){
		"speaks HTTP/1": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			go func() { // one that hangs up on what it was sent could be a daemon that has died
				io.Copy(io.Discard, c)
				c.Close()
			}()
		},
		"says nothing": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "client")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			l, err := net.Listen("unix", filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					answer(c)
				}
			}()
			c, err := New("unix://"+l.Addr().String(), Options{DialTimeout: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := write(t.Context())(c); err == nil || !strings.Contains(err.Error(), "does not answer as a Shoal daemon: check --host and SHOAL_HOST") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestHangsUp: however the transport says that the daemon has gone, a person is told the same.
func TestHangsUp(t *testing.T) {
	c := &Client{host: Host{Network: "unix", Addr: "/s"}}
	for msg, lost := range map[string]bool{
		"write unix @->/run/shoal/shoal.sock: write: broken pipe": true,
		"read unix @->/run/shoal/shoal.sock: connection reset":    true,
		"error reading from server: EOF":                          true,
		"no leader: 1 of 3 managers answer":                       false,
		"write /var/lib/shoal/db: no space left on device":        false,
	} {
		if got := strings.Contains(c.lostConnection(msg), "lost the connection"); got != lost {
			t.Errorf("%q: %q", msg, c.lostConnection(msg))
		}
	}
}
