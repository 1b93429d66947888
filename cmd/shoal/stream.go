package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/shoal-dev/shoal/proto/api"
)

// bidi is an attach or exec session as the daemon offers it.
type bidi interface {
	Send(*api.StreamInput) error
	Recv() (*api.StreamOutput, error)
	CloseSend() error
}

// streamOptions say what of this program's surroundings goes to the process and back.
type streamOptions struct {
	stdin      bool
	tty        bool   // the process has a terminal
	detachKeys []byte // with a terminal and stdin
	out, err   io.Writer
	// signal passes a signal on; nil: signals mean this program.
	signal func(name string) error
}

// streaming is one session. gRPC allows one sender at a time, hence the mutex.
type streaming struct {
	c    *cli
	s    bidi
	o    streamOptions
	mu   sync.Mutex
	done chan struct{}
	left chan struct{} // closed by the detach keys
}

// errDetached ends a session whose process goes on.
var errDetached = errors.New("detached")

// newStreaming opens a session with its first message.
func (c *cli) newStreaming(s bidi, open *api.StreamInput, o streamOptions) (*streaming, error) {
	st := &streaming{c: c, s: s, o: o, done: make(chan struct{}), left: make(chan struct{})}
	return st, st.send(open)
}

// send reports a broken stream in the daemon's words: those come out of Recv.
func (s *streaming) send(m *api.StreamInput) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.s.Send(m)
	if isEOF(err) {
		_, err = s.s.Recv()
	}
	return err
}

// ready waits until everything written from now on will arrive.
func (s *streaming) ready() error {
	for {
		m, err := s.s.Recv()
		if err != nil {
			return err
		}
		if m.GetReady() {
			return nil
		}
		if x := m.GetExit(); x != nil {
			return errors.New(orElse(x.Error, "the process ended before it could be attached to"))
		}
		if err := s.write(m); err != nil {
			return err
		}
	}
}

// run carries everything until the process has ended, and gives its exit code. errDetached: it goes on.
func (s *streaming) run(ctx context.Context) (*api.StreamExit, error) {
	if s.o.tty && s.o.stdin {
		restore, err := s.c.rawTerminal()
		if err != nil {
			return nil, err
		}
		defer restore()
	}
	defer close(s.done)
	if s.o.tty {
		go s.resizes()
	}
	if s.o.signal != nil {
		signals, stop := watchSignals()
		defer func() { go stop() }()
		s.c.releaseSignals()
		go s.signals(signals)
	}
	if s.o.stdin {
		go s.input()
	}
	return s.output(ctx)
}

// output receives in a goroutine of its own, so that the detach keys work while nothing arrives.
func (s *streaming) output(ctx context.Context) (*api.StreamExit, error) {
	type result struct {
		exit *api.StreamExit
		err  error
	}
	end := make(chan result, 1)
	go func() {
		for {
			m, err := s.s.Recv()
			if err == nil && m.GetExit() == nil {
				err = s.write(m)
			}
			if err != nil || m.GetExit() != nil {
				end <- result{m.GetExit(), err}
				return
			}
		}
	}()
	select {
	case r := <-end:
		if isEOF(r.err) {
			return nil, errors.New("the daemon ended the session without an exit code: see 'shoal ps -a'")
		}
		return r.exit, r.err
	case <-s.left:
		return nil, errDetached
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *streaming) write(m *api.StreamOutput) error {
	var err error
	switch k := m.Kind.(type) {
	case *api.StreamOutput_Stdout:
		_, err = s.o.out.Write(k.Stdout)
	case *api.StreamOutput_Stderr:
		_, err = s.o.err.Write(k.Stderr)
	}
	return err
}

// input copies standard input. The end of it closes the process's.
func (s *streaming) input() {
	keys := &keyScanner{keys: s.o.detachKeys}
	buf := make([]byte, 32<<10)
	for {
		n, err := s.c.in.Read(buf)
		data := append([]byte(nil), buf[:n]...)
		if s.o.tty && len(keys.keys) > 0 {
			var found bool
			if data, found = keys.scan(data); found {
				_ = s.send(&api.StreamInput{Kind: &api.StreamInput_Detach{Detach: true}})
				close(s.left)
				return
			}
		}
		if len(data) > 0 && s.send(&api.StreamInput{Kind: &api.StreamInput_Stdin{Stdin: data}}) != nil {
			return
		}
		if err != nil {
			_ = s.send(&api.StreamInput{Kind: &api.StreamInput_StdinClose{StdinClose: true}})
			return
		}
	}
}

func (s *streaming) resizes() {
	changed, stop := watchResize()
	defer stop()
	for {
		if size := s.c.terminalSize(); size != nil {
			if s.send(&api.StreamInput{Kind: &api.StreamInput_Resize{Resize: size}}) != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-s.done:
			return
		}
	}
}

func (s *streaming) signals(signals <-chan os.Signal) {
	for {
		select {
		case sig := <-signals:
			if name, ok := signalName(sig); ok {
				_ = s.o.signal(name)
			}
		case <-s.done:
			return
		}
	}
}
