//go:build linux

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Attach implements Runtime.
func (s *Shoal) Attach(ctx context.Context, id string) (Stream, error) {
	o, err := s.place(id).record()
	if err != nil {
		return nil, err
	}
	c, err := s.connect(id)
	if err != nil {
		return nil, err
	}
	if _, err := c.Call(ctx, wire.OpAttach, 0, nil); err != nil {
		c.Close()
		return nil, fmt.Errorf("attach: %w", understand(err))
	}
	st := &shimStream{conn: c}
	if o.OpenStdin {
		st.stdin = &shimInput{conn: c}
	}
	return st, nil
}

// shimStream is a connection to the container's own streams, which its shim holds.
type shimStream struct {
	conn  *shim.Conn
	stdin *shimInput
}

func (s *shimStream) Stdin() io.WriteCloser {
	if s.stdin == nil {
		return nil
	}
	return s.stdin
}

// Output implements Stream.
func (s *shimStream) Output(stdout, stderr io.Writer) error {
	for {
		r, err := s.conn.Receive()
		switch {
		case errors.Is(err, shim.ErrGone):
			return nil
		case err != nil:
			return err
		}
		switch r.Op {
		case wire.OpStdout:
			_, err = stdout.Write(r.Payload)
		case wire.OpStderr:
			_, err = stderr.Write(r.Payload)
		case wire.OpEOF:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Close implements Stream.
func (s *shimStream) Close() error { return s.conn.Close() }

// shimInput is the container's standard input.
type shimInput struct {
	conn *shim.Conn
	mu   sync.Mutex
}

// maxInput is how much goes into one frame: the shim keeps a frame in memory until the container has read it.
const maxInput = 32 << 10

func (w *shimInput) Write(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n < len(p) {
		part := p[n:min(n+maxInput, len(p))]
		if err := w.conn.Send(wire.OpStdin, 0, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

func (w *shimInput) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn.Send(wire.OpStdinClose, 0, nil)
}
