//go:build linux

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/engine/cdi"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/label"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/resolver"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/proto/api"
)

// Volumes keeps named directories that outlive containers. See volume.Store, which it is.
type Volumes interface {
	Create(ctx context.Context, v *api.Volume) (vol *api.Volume, created bool, err error)
	Get(ctx context.Context, name string) (*api.Volume, error)
	List(ctx context.Context) ([]*api.Volume, error)
	Remove(ctx context.Context, name string, force bool, inUse func() []string) error
	Mount(ctx context.Context, name, user string) (string, error)
	Unmount(ctx context.Context, name, user string) error
	// Adopt makes a running container a user, if it is none, of a volume that is mounted.
	Adopt(ctx context.Context, name, user string) error
	CopyUp(ctx context.Context, name, from string) error
	Reconcile(ctx context.Context, alive func(user string) bool) error
}

// Config are the parts that an Engine works with. Open makes them all.
type Config struct {
	DataDir      string // rows, logs
	RunDir       string // what a reboot may lose: bundles, mount points, namespaces
	CgroupParent string // relative to the root of every hierarchy
	Hostname     string
	Runtime      runtime.Runtime
	Images       *image.Store
	Snapshots    snapshot.Snapshotter
	Volumes      Volumes
	Networks     *network.Manager
	CDI          *cdi.Specs // devices that vendors describe
	Labels       *label.Source
	Logger       *slog.Logger
	// FaultPoint, if set, is called at every point in a container's life where a crash is tested.
	FaultPoint func(name string)
}

// Engine runs the containers of one node. Its methods may be called concurrently.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	events  broadcaster
	journal journal

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	profiles profileCache
	resolver *resolver.Server
	bounding []string // capabilities of this daemon

	mu         sync.Mutex
	containers map[string]*container
	names      map[string]string // name to ID, also of containers that are being made
	making     map[string]*container
	users      map[uint32]string // first user of a range to the container that has it, see ownusers.go

	closeParts func() // of what Open made

	// netMu is held from choosing addresses and ports until the row that owns them is written, and by who removes a network.
	netMu sync.Mutex
}

// New opens the engine: it undoes what a crash left half made, finds the containers that still run and watches
// them. Goroutines of the engine end when ctx ends or with Close.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.FaultPoint == nil {
		cfg.FaultPoint = func(string) {}
	}
	for _, d := range []struct {
		path string
		perm os.FileMode
	}{
		{filepath.Join(cfg.RunDir, "bundles"), 0o711}, // users of containers go through, each to its own bundle
		{filepath.Join(cfg.RunDir, "netns"), 0o710}, {filepath.Join(cfg.RunDir, "userns"), 0o710},
		{filepath.Join(cfg.DataDir, rowDirectory), 0o710},
	} {
		err := os.MkdirAll(d.path, d.perm)
		if err == nil {
			err = os.Chmod(d.path, d.perm) // an older daemon has made it for itself alone
		}
		if err != nil {
			return nil, fmt.Errorf("create engine directory: %w", err)
		}
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, closeParts: func() {}, containers: map[string]*container{}, names: map[string]string{}, making: map[string]*container{}, users: map[uint32]string{}}
	e.ctx, e.cancel = context.WithCancel(ctx)
	e.resolver = resolver.New(cfg.Logger)
	var err error
	if e.bounding, err = boundingCaps(); err != nil {
		return nil, err
	}
	if err := e.recover(e.ctx); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// reconcileInterval is how often kernel state is compared with the rows.
const reconcileInterval = 10 * time.Second

// sweepInterval is how often pulls that nobody went on with are looked for.
const sweepInterval = time.Hour

// Run starts the containers whose restart policy says so, and keeps the kernel equal to the rows until ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	e.finishRestarts()
	e.restartAfterBoot()
	var logs sync.WaitGroup // not e.wg: Close may be waiting for that already
	logs.Go(func() { e.compressLogs(e.ctx) })
	defer logs.Wait()
	tick, sweep := time.NewTicker(reconcileInterval), time.NewTicker(sweepInterval)
	defer tick.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			e.Close()
			return ctx.Err()
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-sweep.C:
			if err := e.cfg.Images.Collect(ctx); err != nil {
				e.log.Error("what belongs to no image was not removed", "error", err)
			}
		case <-tick.C:
			if err := e.reconcileNetworks(ctx); err != nil && ctx.Err() == nil {
				e.log.Error("networks are not as they should be", "error", err)
			}
			if err := e.cfg.Volumes.Reconcile(ctx, e.known); err != nil && ctx.Err() == nil {
				e.log.Error("volumes are not as they should be", "error", err)
			}
		}
	}
}

// Close ends the engine's goroutines and waits for them. Containers go on running.
func (e *Engine) Close() {
	e.cancel()
	e.wg.Wait()
	e.resolver.CloseAll()
	e.closeParts()
}

// Networks gives the local networks.
func (e *Engine) Networks() *network.Manager { return e.cfg.Networks }

// CDI gives the devices that vendors describe.
func (e *Engine) CDI() *cdi.Specs { return e.cfg.CDI }

// SELinux says that containers have labels.
func (e *Engine) SELinux() bool { return e.cfg.Labels.On() }

// Images gives the images.
func (e *Engine) Images() *image.Store { return e.cfg.Images }

// VolumeStore gives the volumes.
func (e *Engine) VolumeStore() Volumes { return e.cfg.Volumes }

// start runs f in a goroutine that Close waits for.
func (e *Engine) start(f func(ctx context.Context)) {
	e.wg.Go(func() { f(e.ctx) })
}

// Paths of one container under the run directory.
func (e *Engine) bundle(id string) string { return filepath.Join(e.cfg.RunDir, "bundles", id) }
func (e *Engine) rootfs(id string) string { return filepath.Join(e.bundle(id), "rootfs") }
func (e *Engine) shmDir(id string) string { return filepath.Join(e.bundle(id), "shm") }
func (e *Engine) netnsPath(id string) string {
	return filepath.Join(e.cfg.RunDir, "netns", id)
}
func (e *Engine) rowDir(id string) string { return filepath.Join(e.cfg.DataDir, rowDirectory, id) }
