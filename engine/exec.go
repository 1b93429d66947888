//go:build linux

package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// Exec starts one more process in a running container. The process goes on when ctx ends; the caller waits for it.
func (e *Engine) Exec(ctx context.Context, open *api.ExecOpen) (runtime.Process, error) {
	return e.exec(ctx, open, false)
}

// exec is Exec; a tied process does not go on when this daemon dies.
func (e *Engine) exec(ctx context.Context, open *api.ExecOpen, tied bool) (runtime.Process, error) {
	c, err := e.find(open.GetRef())
	if err != nil {
		return nil, err
	}
	switch row := c.get(); {
	case row.State == api.ContainerState_PAUSED:
		return nil, errorf(ErrPrecondition, "container %s is paused: unpause it before running a command in it", row.Name)
	case !active(row.State):
		return nil, errorf(ErrPrecondition, "container %s is not running", row.Name)
	}
	config, err := e.cfg.Runtime.Spec(ctx, c.id)
	if err != nil {
		return nil, err
	}
	var user *spec.User
	if open.User != "" {
		u, err := lookupUser(e.rootfs(c.id), open.User, c.get().Spec.GetGroups())
		if err != nil {
			return nil, &StartError{Container: c.id, ExitCode: execExitCode(err), Err: err}
		}
		user = &u
	}
	process, err := spec.Exec(config, open, user, e.bounding)
	if err != nil {
		return nil, &StartError{Container: c.id, ExitCode: execExitCode(err), Err: invalid(err)}
	}
	p, err := e.cfg.Runtime.Exec(ctx, c.id, runtime.ExecOptions{
		Process: process, Stdin: open.Stdin, Privileged: open.Privileged, Tied: tied, Watched: e.sharesPIDs(c),
		Size: runtime.Size{Width: uint16(open.Size.GetWidth()), Height: uint16(open.Size.GetHeight())},
	})
	if err != nil {
		return nil, &StartError{Container: c.id, ExitCode: execExitCode(err), Err: err}
	}
	e.cfg.FaultPoint("exec.started")
	what := strings.Join(open.Command, " ")
	e.emit(c, "exec_create", map[string]string{"command": what})
	e.announceContainer(c.get(), "exec_start: "+what, nil)
	t := &toldProcess{Process: p, tell: func(exit runtime.Exit) {
		e.cfg.FaultPoint("exec.ended")
		e.announceContainer(c.get(), "exec_die", map[string]string{"exitCode": strconv.Itoa(exit.Code)})
	}}
	e.start(func(ctx context.Context) { t.Wait(ctx) })
	return t, nil
}

// toldProcess is a process whose end is told of before who waits for it goes on: the first of them tells.
type toldProcess struct {
	runtime.Process
	once sync.Once
	tell func(runtime.Exit)
}

func (p *toldProcess) Wait(ctx context.Context) (runtime.Exit, error) {
	exit, err := p.Process.Wait(ctx)
	if err == nil {
		p.once.Do(func() { p.tell(exit) })
	}
	return exit, err
}

// execExitCode is the code with which `exec` ends when the command cannot be run: Docker's, which knows no 125 here.
func execExitCode(err error) int { return max(126, startExitCode(err)) }

// sharesPIDs says that another container has joined c's PID namespace.
func (e *Engine) sharesPIDs(c *container) bool {
	e.mu.Lock()
	var joining []string
	for _, other := range e.containers {
		if mode := other.get().Spec.GetPidMode(); joinsContainer(mode) {
			joining = append(joining, strings.TrimPrefix(mode, "container:"))
		}
	}
	e.mu.Unlock()
	return slices.ContainsFunc(joining, func(ref string) bool {
		joined, err := e.find(ref)
		return err == nil && joined == c
	})
}
