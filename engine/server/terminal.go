//go:build linux

package server

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/internal/rescue"
	"github.com/shoal-dev/shoal/proto/api"
)

// bidi is the stream of Attach and Exec.
type bidi = grpc.BidiStreamingServer[api.StreamInput, api.StreamOutput]

// sender lets several goroutines send.
type sender struct {
	mu sync.Mutex
	s  bidi
}

func (s *sender) send(m *api.StreamOutput) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.s.Send(m)
}

// writer sends what is written as output.
type writer struct {
	to     *sender
	stderr bool
}

func (w writer) Write(p []byte) (int, error) {
	m := &api.StreamOutput{Kind: &api.StreamOutput_Stdout{Stdout: p}}
	if w.stderr {
		m.Kind = &api.StreamOutput_Stderr{Stderr: p}
	}
	if err := w.to.send(m); err != nil {
		return 0, err
	}
	return len(p), nil
}

func exitMessage(code int, err string) *api.StreamOutput {
	return &api.StreamOutput{Kind: &api.StreamOutput_Exit{Exit: &api.StreamExit{Code: int32(code), Error: err}}}
}

var ready = &api.StreamOutput{Kind: &api.StreamOutput_Ready{Ready: true}}

// target is what input goes to.
type target struct {
	stdin  io.WriteCloser // nil: input is refused
	resize func(context.Context, runtime.Size) error
	signal func(context.Context, string) error
}

// errDetached ends a session because its user left it.
var errDetached = errors.New("detached")

// input passes on what the client sends until it leaves.
func input(s bidi, t target) error {
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			if t.stdin != nil {
				t.stdin.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch k := m.Kind.(type) {
		case *api.StreamInput_Stdin:
			if t.stdin == nil {
				return status.Error(codes.FailedPrecondition, "this process has no standard input: ask for it with --interactive")
			}
			// A process that closed its input goes on without it.
			t.stdin.Write(k.Stdin)
		case *api.StreamInput_StdinClose:
			if t.stdin != nil {
				t.stdin.Close()
			}
		case *api.StreamInput_Resize:
			// A process that has just ended has no size.
			t.resize(s.Context(), runtime.Size{Width: uint16(k.Resize.Width), Height: uint16(k.Resize.Height)})
		case *api.StreamInput_Signal:
			if err := t.signal(s.Context(), k.Signal); err != nil {
				return toStatus(err)
			}
		case *api.StreamInput_Detach:
			return errDetached
		default:
			return status.Error(codes.InvalidArgument, "a session is opened only once")
		}
	}
}

// Attach connects to a container. A ready message says that nothing written from then on is missed; for a container that
// does not run, that holds for its next start. At the end comes its exit code.
func (s *containers) Attach(stream bidi) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetAttach()
	if open == nil {
		return status.Error(codes.InvalidArgument, "attach: the first message must say to what")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	out := &sender{s: stream}
	if open.Logs {
		if err := s.history(ctx, open.Ref, out); err != nil {
			return toStatus(err)
		}
	}
	attachment, err := s.engine.Attach(ctx, open.Ref)
	if err != nil {
		return toStatus(err)
	}
	if err := out.send(ready); err != nil {
		return err
	}
	connection, err := attachment.Stream(ctx)
	var start *engine.StartError
	if errors.As(err, &start) {
		return out.send(exitMessage(start.ExitCode, start.Error()))
	}
	if err != nil {
		return toStatus(err)
	}
	defer connection.Close()
	t := target{
		resize: func(ctx context.Context, size runtime.Size) error {
			return s.engine.Resize(ctx, attachment.ContainerID(), size)
		},
		signal: func(ctx context.Context, sig string) error { return s.engine.Kill(ctx, attachment.ContainerID(), sig) },
	}
	if open.Stdin {
		t.stdin = connection.Stdin()
	}
	return session(stream, out, connection, t, func() (*api.StreamOutput, error) {
		row, err := attachment.Exit(ctx)
		return exitMessage(int(row.GetExitCode()), row.GetError()), err
	})
}

// history sends what a container has written so far.
func (s *containers) history(ctx context.Context, ref string, out *sender) error {
	stdout, stderr := writer{to: out}, writer{to: out, stderr: true}
	return s.engine.Logs(ctx, ref, &api.LogOptions{Tail: -1}, func(l *api.LogLine) error {
		w := stdout
		if l.Stderr {
			w = stderr
		}
		_, err := w.Write(l.Data)
		return err
	})
}

// session copies both ways until the process has ended or the client has left.
func session(stream bidi, out *sender, c runtime.Stream, t target, exit func() (*api.StreamOutput, error)) error {
	left := make(chan error, 1)
	go func() {
		if err := rescue.Carry(func() error { return input(stream, t) }); err != nil {
			left <- err
		}
	}()
	done := make(chan error, 1)
	go func() {
		done <- rescue.Carry(func() error {
			if err := c.Output(writer{to: out}, writer{to: out, stderr: true}); err != nil {
				return err
			}
			m, err := exit()
			if err != nil {
				return err
			}
			return out.send(m)
		})
	}()
	select {
	case err := <-done:
		return toStatus(rescue.Out(err))
	case err := <-left:
		c.Close()
		rescue.Out(err)
		if errors.Is(err, errDetached) {
			return nil
		}
		return err
	case <-stream.Context().Done(): // while what it has sent waits for a process that does not read
		c.Close()
		return toStatus(stream.Context().Err())
	}
}

// Exec runs one more command in a container. A ready message says that it has been started; at the end comes its exit code.
// A command that cannot be started ends with 126 or 127 at once.
func (s *containers) Exec(stream bidi) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetExec()
	if open == nil {
		return status.Error(codes.InvalidArgument, "exec: the first message must say what to run")
	}
	out := &sender{s: stream}
	p, err := s.engine.Exec(stream.Context(), open)
	var start *engine.StartError
	if errors.As(err, &start) && start.ExitCode != 125 {
		return out.send(exitMessage(start.ExitCode, start.Err.Error()))
	}
	if err != nil {
		return toStatus(err)
	}
	if err := out.send(ready); err != nil {
		return err
	}
	connection := p.Stream()
	defer connection.Close()
	if open.Detach {
		return nil
	}
	t := target{
		resize: func(_ context.Context, size runtime.Size) error { return p.Resize(size) },
		signal: func(_ context.Context, name string) error {
			sig, err := engine.ParseSignal(name)
			if err != nil {
				return err
			}
			return p.Signal(sig)
		},
	}
	if open.Stdin {
		t.stdin = connection.Stdin()
	}
	return session(stream, out, connection, t, func() (*api.StreamOutput, error) {
		e, err := p.Wait(stream.Context())
		return exitMessage(e.Code, e.Error), err
	})
}
