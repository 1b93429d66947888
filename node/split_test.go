package node

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shoal-dev/shoal/internal/execwire"
	"github.com/shoal-dev/shoal/proto/api"
)

type infoOnly struct {
	api.UnimplementedLocalServer
}

func (infoOnly) Info(context.Context, *api.InfoRequest) (*api.InfoResponse, error) {
	return &api.InfoResponse{Hostname: "one"}, nil
}

func TestSplitTellsTwoProtocolsApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := newSplit(l, func(c net.Conn) {
		defer c.Close()
		got := make([]byte, len(execwire.Preface))
		if _, err := io.ReadFull(c, got); err == nil {
			c.Write(got)
		}
	})
	sorted := make(chan error, 1)
	go func() { sorted <- s.run() }()
	srv := grpc.NewServer()
	api.RegisterLocalServer(srv, infoOnly{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s) }()

	c, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if info, err := api.NewLocalClient(c).Info(t.Context(), &api.InfoRequest{}); err != nil || info.Hostname != "one" {
		t.Errorf("gRPC: %v, %v", info, err)
	}
	short, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	io.WriteString(short, execwire.Preface)
	if got, err := io.ReadAll(short); err != nil || string(got) != execwire.Preface {
		t.Errorf("the short form got %q, %v", got, err)
	}
	srv.Stop() // closes the listener
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if err := <-sorted; err != nil {
		t.Errorf("sort: %v", err)
	}
}

func TestSplitDropsTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := newSplit(&oneConn{c: theirs}, func(net.Conn) { t.Error("taken for the short form") })
		go s.run()
		if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after %v: %v, want the end", speakWithin, err)
		}
		if _, err := s.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
	})
}

// oneConn is a listener that gives one connection and is closed then.
type oneConn struct{ c net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if l.c == nil {
		return nil, net.ErrClosed
	}
	c := l.c
	l.c = nil
	return c, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return nil }
