//go:build linux

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/engine/cgroup"
	"github.com/shoal-dev/shoal/engine/seccomp"
	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// Config says what a Shoal works with.
type Config struct {
	RunDir   string // containers are kept below it, in shims/ID
	ShimPath string // see package shim
	Logger   *slog.Logger
}

// Shoal is the Runtime of this project: the daemon compiles a container into system
// calls, its shim makes them.
type Shoal struct {
	dir     string
	program *os.File // the shim, sealed: no container can write to what the next one will execute (CVE-2019-5736)
	tree    *cgroup.Tree
	filters seccomp.Cache
	configs configs
	caps    uint64
	log     *slog.Logger
}

var _ Runtime = (*Shoal)(nil)

// New opens the runtime. Containers of an earlier daemon are found by List.
func New(cfg Config) (*Shoal, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Shoal{dir: filepath.Join(cfg.RunDir, "shims"), log: cfg.Logger}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	var err error
	if s.tree, err = cgroup.Detect(); err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	if s.caps, err = ownCapabilities(); err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	if s.program, err = seal(cfg.ShimPath); err != nil {
		return nil, fmt.Errorf("open runtime: %w", err)
	}
	return s, nil
}

// Close gives back what the runtime holds itself. Containers go on running.
func (s *Shoal) Close() error { return s.program.Close() }

func (s *Shoal) place(id string) place { return place{filepath.Join(s.dir, id), id} }

// Start implements Runtime.
func (s *Shoal) Start(ctx context.Context, id string) error {
	rec, err := s.place(id).record()
	if err == nil {
		err = s.startHooks(ctx, rec)
	}
	if err == nil {
		_, err = s.ask(ctx, id, wire.OpStart, 0, nil)
	}
	if err == nil {
		err = s.startedHooks(ctx, rec)
	}
	if err == nil && rec.Runtime != "" {
		err = s.startOther(ctx, rec.CreateOptions) // the shim knows already: a short container is over when this returns
	}
	return wrap("start", err)
}

// wrap says what was tried, unless that is in the error: the reasons why a command cannot be executed begin with "exec:".
func wrap(what string, err error) error {
	if err == nil || errors.Is(err, ErrNoCommand) || errors.Is(err, ErrNotRunnable) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ask makes one request to a container's shim.
func (s *Shoal) ask(ctx context.Context, id string, op uint8, arg uint16, payload []byte) (shim.Reply, error) {
	c, err := s.connect(id)
	if err != nil {
		return shim.Reply{}, err
	}
	defer c.Close()
	r, err := c.Call(ctx, op, arg, payload)
	return r, understand(err)
}

// connect reaches the shim of a container that has not ended.
func (s *Shoal) connect(id string) (*shim.Conn, error) {
	c, err := shim.Dial(s.place(id).dir)
	if !errors.Is(err, shim.ErrGone) {
		return c, err
	}
	if _, err := os.Stat(s.place(id).dir); err != nil {
		return nil, ErrNotFound
	}
	return nil, ErrNotRunning
}

// understand turns a shim's refusal into an error that callers branch on.
func understand(err error) error {
	var refusal *shim.Error
	switch {
	case errors.Is(err, shim.ErrGone):
		return ErrNotRunning
	case !errors.As(err, &refusal):
		return err
	}
	kind := map[uint16]error{
		wire.CodeNoCommand: ErrNoCommand, wire.CodeNoRun: ErrNotRunnable, wire.CodeNotRunning: ErrNotRunning,
	}[refusal.Code]
	if kind == nil {
		return refusal
	}
	return &Refused{Kind: kind, Text: refusal.Text}
}

// Refused is an error of this package with the shim's own words for it.
type Refused struct {
	Kind error
	Text string
}

func (e *Refused) Error() string { return e.Text }
func (e *Refused) Unwrap() error { return e.Kind }

// Kill implements Runtime.
func (s *Shoal) Kill(ctx context.Context, id string, sig syscall.Signal) error {
	_, err := s.ask(ctx, id, wire.OpKill, uint16(sig), nil)
	return err
}

// Pause implements Runtime.
func (s *Shoal) Pause(ctx context.Context, id string) error { return s.freeze(ctx, id, true) }

// Resume implements Runtime.
func (s *Shoal) Resume(ctx context.Context, id string) error { return s.freeze(ctx, id, false) }

func (s *Shoal) freeze(ctx context.Context, id string, frozen bool) error {
	g, err := s.group(id)
	if err != nil {
		return err
	}
	err = g.Freeze(ctx, frozen)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) { // it has ended meanwhile, and its group is gone
		return ErrNotRunning
	}
	return err
}

// Resize implements Runtime.
func (s *Shoal) Resize(ctx context.Context, id string, size Size) error {
	_, err := s.ask(ctx, id, wire.OpResize, 0, []byte{byte(size.Width), byte(size.Width >> 8), byte(size.Height), byte(size.Height >> 8)})
	return err
}

// Update implements Runtime.
func (s *Shoal) Update(_ context.Context, id string, r *specs.LinuxResources) error {
	g, err := s.group(id)
	if err != nil {
		return err
	}
	return g.Apply(r)
}

// Stats implements Runtime.
func (s *Shoal) Stats(_ context.Context, id string) (Stats, error) {
	g, err := s.group(id)
	if err != nil {
		return Stats{}, err
	}
	c, err := g.Stats()
	return Stats{
		Time: time.Now(), CPUNanos: c.CPUNanos, ThrottledNanos: c.ThrottledNanos, Memory: c.Memory, MemoryLimit: c.MemoryLimit,
		Pids: c.Pids, BlockRead: c.BlockRead, BlockWrite: c.BlockWrite,
	}, err
}

// Pids implements Runtime.
func (s *Shoal) Pids(_ context.Context, id string) ([]int, error) {
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	return g.Pids()
}

// group is the cgroup that a container was created in.
func (s *Shoal) group(id string) (*cgroup.Group, error) {
	r, err := s.place(id).record()
	if err != nil {
		return nil, err
	}
	return s.tree.Group(r.CgroupPath)
}
