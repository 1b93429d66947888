//go:build linux

package runtime

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Hooks are programs of the host that take part in a container's life, as the OCI runtime specification has them: they read
// the container's state from standard input, one after another, and one that fails ends what was being done.
//
//	prestart, createRuntime  here, once all is mounted and before the container enters its root
//	createContainer          in the container's namespaces, at the same time: the host's files are still there
//	startContainer           in the container, as its user, before the command
//	poststart                here, once the command is executed
//	poststop                 here, once the container is gone; a failure is only logged

// earlyHooks are those that run before the container enters its root.
//
//lint:ignore SA1019 the deprecated kind is what older CDI specs use
func earlyHooks(h *specs.Hooks) []specs.Hook { return slices.Concat(h.Prestart, h.CreateRuntime) }

func hasEarlyHooks(h *specs.Hooks) bool {
	return h != nil && len(earlyHooks(h))+len(h.CreateContainer) > 0
}

func validateHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for _, k := range slices.Concat(earlyHooks(h), h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop) {
		if !strings.HasPrefix(k.Path, "/") {
			return fmt.Errorf("config.json: hook %q: the path must be absolute", k.Path)
		}
		if k.Timeout != nil && *k.Timeout <= 0 {
			return fmt.Errorf("config.json: hook %s: a timeout of %d seconds: must be positive", k.Path, *k.Timeout)
		}
		for _, e := range k.Env {
			if !strings.Contains(e, "=") {
				return fmt.Errorf("config.json: hook %s: %q is not NAME=VALUE", k.Path, e)
			}
		}
	}
	return nil
}

// makeWithHooks sends a container's program to its shim, runs the hooks that come meanwhile, and returns the shim's answer.
func (s *Shoal) makeWithHooks(ctx context.Context, conn *shim.Conn, rec record, in input, blob []byte) (shim.Reply, error) {
	r, err := conn.Call(ctx, wire.OpCreate, 0, blob)
	if err != nil || r.Op != wire.OpHooks || len(r.Payload) < 4 {
		return r, err
	}
	pid := int(binary.NativeEndian.Uint32(r.Payload))
	s.warn(rec.ID, r.Payload[4:])
	if err := rec.runHere(ctx, earlyHooks(rec.Hooks), specs.StateCreating, pid); err != nil {
		return shim.Reply{}, err
	}
	for _, h := range rec.Hooks.CreateContainer {
		blob, err := compileHook(in, h)
		if err == nil {
			err = s.runInside(ctx, rec, h, specs.StateCreating, pid, blob)
		}
		if err != nil {
			return shim.Reply{}, fmt.Errorf("createContainer hook %s: %w", h.Path, err)
		}
	}
	return conn.Call(ctx, wire.OpGoOn, 0, nil)
}

// warn logs what the shim said of steps that failed and may.
func (s *Shoal) warn(id string, lines []byte) {
	for line := range strings.Lines(string(lines)) {
		s.log.Warn("container is less than asked for", "container", id, "reason", strings.TrimSpace(line))
	}
}

// startHooks run in the container, as the command will.
func (s *Shoal) startHooks(ctx context.Context, rec record) error {
	if rec.Hooks == nil || len(rec.Hooks.StartContainer) == 0 {
		return nil
	}
	sup, err := s.place(rec.ID).supervised()
	if err != nil {
		return err
	}
	k, err := s.config(rec.ID)
	if err != nil {
		return err
	}
	in := s.atFirst(k)
	for _, h := range rec.Hooks.StartContainer {
		blob, err := compileStartHook(in, h)
		if err == nil {
			err = s.runInside(ctx, rec, h, specs.StateCreated, sup.init.pid, blob)
		}
		if err != nil {
			return fmt.Errorf("startContainer hook %s: %w", h.Path, err)
		}
	}
	return nil
}

// startedHooks run once the command is executed.
func (s *Shoal) startedHooks(ctx context.Context, rec record) error {
	if rec.Hooks == nil || len(rec.Hooks.Poststart) == 0 {
		return nil
	}
	sup, err := s.place(rec.ID).supervised()
	if err != nil {
		return err
	}
	return rec.runHere(ctx, rec.Hooks.Poststart, specs.StateRunning, sup.init.pid)
}

// stoppedHooks run when nothing is left of a container but its directory, if there ever was a process of it.
func (s *Shoal) stoppedHooks(ctx context.Context, rec record) {
	if rec.Hooks == nil || len(rec.Hooks.Poststop) == 0 {
		return
	}
	if sup, err := s.place(rec.ID).supervised(); err != nil || sup.init.pid == 0 {
		return
	}
	for _, h := range rec.Hooks.Poststop {
		if err := rec.runHere(ctx, []specs.Hook{h}, specs.StateStopped, 0); err != nil {
			s.log.Warn("hook failed", "container", rec.ID, "error", err)
		}
	}
}

// state is what a hook reads.
func (r record) state(status specs.ContainerState, pid int) []byte {
	b, err := json.Marshal(specs.State{
		Version: specs.Version, ID: r.ID, Status: status, Pid: pid, Bundle: r.Bundle, Annotations: r.Annotations,
	})
	if err != nil {
		slog.Error("state was not encoded", "container", r.ID, "error", err) // strings and numbers: cannot be
	}
	return b
}

// innerPid is a process's number in its own PID namespace.
func innerPid(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return pid
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(list)
			if n, err := strconv.Atoi(f[len(f)-1]); err == nil {
				return n
			}
		}
	}
	return pid
}

// bounded is a context that ends with a hook's own timeout.
func bounded(ctx context.Context, h specs.Hook) (context.Context, context.CancelFunc) {
	if h.Timeout == nil {
		return context.WithCancel(ctx)
	}
	limit := time.Duration(*h.Timeout) * time.Second
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("killed after its timeout of %s", limit))
}
