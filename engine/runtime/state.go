//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// State implements Runtime.
func (s *Shoal) State(_ context.Context, id string) (State, error) {
	p := s.place(id)
	if _, err := os.Stat(p.file(recordFile)); err != nil {
		return State{}, fmt.Errorf("container %.12s: %w", id, ErrNotFound)
	}
	// First whether the shim lives, then what it wrote: what it writes last is never missed.
	sup, supErr := p.supervised()
	alive := supErr == nil && sup.shim.alive()
	exit, err := p.exit()
	if err != nil {
		return State{}, err
	}
	st := State{ID: id, StartedAt: sup.started, Exit: exit}
	switch {
	case exit != nil || !alive:
		st.Status = Stopped
	case sup.started.IsZero():
		st.Status, st.Pid = Created, sup.init.pid
	default:
		st.Status, st.Pid = Running, sup.init.pid
		if g, err := s.group(id); err == nil {
			if frozen, err := g.Frozen(); err == nil && frozen {
				st.Status = Paused
			}
		}
	}
	return st, nil
}

// List implements Runtime. It is how a daemon begins.
func (s *Shoal) List(ctx context.Context) ([]State, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var out []State
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			os.RemoveAll(filepath.Join(s.dir, e.Name())) // a reservation that was cut short
			continue
		}
		s.place(e.Name()).removeExecs()
		st, err := s.State(ctx, e.Name())
		if errors.Is(err, ErrNotFound) { // a Delete that was cut short
			st = State{ID: e.Name(), Status: Stopped}
		} else if err != nil {
			s.log.Warn("container's state cannot be read", "container", e.Name(), "error", err)
			st = State{ID: e.Name(), Status: Stopped}
		}
		out = append(out, st)
	}
	return out, nil
}

// Wait implements Runtime. A container whose shim was killed gives ErrNotFound: nobody saw how it ended.
func (s *Shoal) Wait(ctx context.Context, id string) (Exit, error) {
	p := s.place(id)
	c, err := shim.Dial(p.dir)
	if err == nil {
		defer c.Close()
		var r shim.Reply
		if r, err = c.Call(ctx, wire.OpWait, 0, nil); err == nil {
			return exitOf(r)
		}
	}
	if ctx.Err() != nil {
		return Exit{}, ctx.Err()
	}
	if !errors.Is(err, shim.ErrGone) {
		return Exit{}, err
	}
	if sup, err := p.supervised(); err == nil {
		sup.shim.await(shimGrace) // it closes its socket just before its end
	}
	exit, err := p.exit()
	if err != nil {
		return Exit{}, err
	}
	if exit == nil {
		return Exit{}, fmt.Errorf("wait for container %.12s: %w", id, ErrNotFound)
	}
	return *exit, nil
}

// exitOf reads an OpExit: code uint32, oom uint32, nanoseconds uint64, reason.
func exitOf(r shim.Reply) (Exit, error) {
	if r.Op != wire.OpExit || len(r.Payload) < 16 {
		return Exit{}, fmt.Errorf("the shim answers wait with %d", r.Op)
	}
	return Exit{
		Code:      int(binary.NativeEndian.Uint32(r.Payload)),
		OOMKilled: binary.NativeEndian.Uint32(r.Payload[4:]) != 0,
		At:        time.Unix(0, int64(binary.NativeEndian.Uint64(r.Payload[8:]))),
		Error:     string(r.Payload[16:]),
	}, nil
}
