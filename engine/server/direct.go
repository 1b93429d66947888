//go:build linux

package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/internal/execwire"
	"github.com/shoal-dev/shoal/internal/rescue"
	"github.com/shoal-dev/shoal/proto/api"
	"github.com/shoal-dev/shoal/proto/known"
)

// ServeExec answers one connection that speaks execwire, until its exec has ended, its client has left or ctx ends. A
// read deadline that the connection has is for the preface. It is the call Exec with other clothes: what holds for that holds here.
func ServeExec(ctx context.Context, e *engine.Engine, log *slog.Logger, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	preface := make([]byte, len(execwire.Preface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != execwire.Preface {
		return // another version's: it takes the silence for a no
	}
	c.SetReadDeadline(time.Time{})
	ctx, left := context.WithCancel(ctx)
	defer left()
	s := &direct{conn: c, ctx: ctx, left: left}
	if s.write(execwire.Hello, nil) != nil {
		return
	}
	err := rescue.Call(log, "Exec", func() error { return (&containers{engine: e}).Exec(s) })
	var panicked *rescue.Panicked
	if errors.As(err, &panicked) && !s.ready.Load() {
		s.Send(ready) // the command may run: a refusal alone would say that nothing has been done, and have it asked for again
	}
	if err != nil {
		s.write(execwire.Refused, []byte(status.Convert(toStatus(err)).Message()))
	}
}

// direct is the stream of an Exec on a connection of its own.
type direct struct {
	grpc.ServerStream // nil: headers and trailers are gRPC's
	ctx               context.Context
	left              func()
	conn              net.Conn
	ready             atomic.Bool // the client knows that the command runs
}

func (s *direct) Context() context.Context { return s.ctx }

// Recv ends the session's context when the client is gone, as gRPC does.
func (s *direct) Recv() (*api.StreamInput, error) {
	kind, body, err := execwire.Read(s.conn)
	if err != nil {
		s.left()
		return nil, status.FromContextError(context.Canceled).Err()
	}
	m := &api.StreamInput{}
	if kind != execwire.Message || proto.Unmarshal(body, m) != nil {
		return nil, status.Error(codes.InvalidArgument, "exec: the input is malformed")
	}
	if field := known.Missing(m); field != "" {
		return nil, status.Error(codes.Unimplemented, field)
	}
	return m, nil
}

func (s *direct) Send(m *api.StreamOutput) error {
	if m.GetReady() {
		s.ready.Store(true)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return s.write(execwire.Message, body)
}

func (s *direct) write(kind byte, body []byte) error {
	_, err := s.conn.Write(execwire.Append(nil, kind, body))
	return err
}
