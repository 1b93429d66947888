//go:build linux

package server

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/proto/api"
)

// typing is a client that sends without end.
type typing struct {
	grpc.ServerStream
	ctx context.Context
}

func (s typing) Context() context.Context     { return s.ctx }
func (s typing) Send(*api.StreamOutput) error { return nil }
func (s typing) Recv() (*api.StreamInput, error) {
	return &api.StreamInput{Kind: &api.StreamInput_Stdin{Stdin: []byte("x")}}, s.ctx.Err()
}

// deaf is a process that does not read and writes nothing.
type deaf struct {
	r      *io.PipeReader
	w      *io.PipeWriter
	closed chan struct{}
}

func (d deaf) Stdin() io.WriteCloser { return d.w }

func (d deaf) Output(_, _ io.Writer) error {
	<-d.closed
	return nil
}

func (d deaf) Close() error {
	close(d.closed)
	return d.r.Close()
}

// A client that leaves is noticed although its input waits for a process that does not read: no goroutine stays behind.
func TestClientLeavesAProcessThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		d := deaf{closed: make(chan struct{})}
		d.r, d.w = io.Pipe()
		s := typing{ctx: ctx}
		ended := make(chan error, 1)
		go func() {
			ended <- session(s, &sender{s: s}, d, target{stdin: d.w}, func() (*api.StreamOutput, error) { return nil, nil })
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("ended before the client left: %v", err)
		default:
		}
		leave()
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("ended with %v", err)
		}
	})
}
