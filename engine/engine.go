//go:build linux

package engine

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/engine/cdi"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/label"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/resolver"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/engine/volume"
)

// config is where the engine lives, and the parts that it works with there.
type config struct {
	Config
	Runtime   runtime.Runtime
	Images    *image.Store
	Snapshots snapshot.Snapshotter
	Volumes   *volume.Store
	Networks  *network.Manager
	CDI       *cdi.Specs // devices that vendors describe
	Labels    *label.Source
}

// Engine runs the containers of one node. Its methods may be called concurrently.
type Engine struct {
	cfg     config
	log     *slog.Logger
	events  broadcaster[Event]
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

	closers []func() // of what Open has opened, in that order

	// netMu is held from choosing addresses and ports until the row that owns them is written, and by who removes a network.
	netMu sync.Mutex
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
	for _, c := range slices.Backward(e.closers) {
		c()
	}
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
func (e *Engine) VolumeStore() *volume.Store { return e.cfg.Volumes }

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
