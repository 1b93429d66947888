//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/snapshot"
)

// step is one thing that a container needs from the host. Prepare may find it done already; release must be
// safe when prepare never ran, ran halfway or ran in a daemon that was killed.
type step struct {
	name    string
	prepare func(context.Context, *container) error
	release func(context.Context, *container) error
}

// createSteps are what a container holds from its creation to its removal.
func (e *Engine) createSteps() []step {
	return []step{
		{"snapshot", e.prepareSnapshot, e.releaseSnapshot},
		{"volumes", e.createVolumes, nothing}, // they outlive it
	}
}

// namespaceSteps come first of what it holds while it runs; a task's are there from its creation on.
func (e *Engine) namespaceSteps() []step {
	return []step{
		{"userns", e.prepareUserNS, e.releaseUserNS},
		{"netns", e.prepareNetNS, e.releaseNetNS},
	}
}

// startSteps are what it holds while it runs.
func (e *Engine) startSteps() []step {
	return append(e.namespaceSteps(), []step{
		{"network", e.prepareNetwork, e.releaseNetwork},
		{"dns", e.prepareDNS, nothing}, // the network releases it
		{"volumes", e.mountVolumes, e.unmountVolumes},
		{"rootfs", e.prepareRootfs, e.releaseRootfs},
		{"copyup", e.prepareCopyUp, nothing},
		{"shm", e.prepareShm, e.releaseShm},
		{"etc", e.prepareEtc, nothing},
		{"labels", e.prepareLabels, nothing},
		{"binds", e.prepareBinds, e.releaseBinds},
		{"bundle", e.prepareBundle, e.releaseBundle},
		{"runtime", e.prepareRuntime, e.releaseRuntime},
	}...)
}

func nothing(context.Context, *container) error { return nil }

// prepare goes up the steps. When one fails, all are released.
func (e *Engine) prepare(ctx context.Context, c *container, phase string, steps []step) error {
	for _, s := range steps {
		if err := s.prepare(ctx, c); err != nil {
			e.release(c, steps)
			return fmt.Errorf("%s: %w", s.name, err)
		}
		e.cfg.FaultPoint(phase + "." + s.name)
	}
	return nil
}

// release goes down all steps, whatever fails on the way. It is not cut short by a caller who leaves.
func (e *Engine) release(c *container, steps []step) error {
	ctx := context.WithoutCancel(e.ctx)
	var errs []error
	for i := len(steps) - 1; i >= 0; i-- {
		e.cfg.FaultPoint("release." + steps[i].name)
		if err := steps[i].release(ctx, c); err != nil {
			err = fmt.Errorf("release %s: %w", steps[i].name, err)
			e.log.Warn("container was not released completely", "container", c.id, "error", err)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) prepareSnapshot(ctx context.Context, c *container) error {
	err := e.withLayers(ctx, c, func() error { return e.cfg.Snapshots.Prepare(ctx, c.id, c.img.ChainID) })
	if err != nil && !errors.Is(err, snapshot.ErrExists) {
		return err
	}
	return nil
}

// withLayers tries again, with the image's layers restored, where one of them is missing.
func (e *Engine) withLayers(ctx context.Context, c *container, try func() error) error {
	err := try()
	if !errors.Is(err, snapshot.ErrNotFound) {
		return err
	}
	e.log.Warn("layers of an image are missing: they are unpacked again", "image", c.img.ID, "error", err)
	if rerr := e.cfg.Images.Restore(ctx, c.img.ID); rerr != nil {
		return errors.Join(err, rerr)
	}
	return try()
}

func (e *Engine) releaseSnapshot(ctx context.Context, c *container) error {
	return e.cfg.Snapshots.Remove(ctx, c.id)
}

// releaseBundle leaves the directory, in which the root file system is still mounted, to releaseRootfs.
func (e *Engine) releaseBundle(_ context.Context, c *container) error {
	err := os.Remove(filepath.Join(e.bundle(c.id), "config.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (e *Engine) prepareRuntime(ctx context.Context, c *container) error {
	logs, err := logConfig(c.get(), c.dir)
	if err != nil {
		return err
	}
	logs.Attrs = logs.choose.of(c.get(), c.img.Config.Labels)
	other, err := otherRuntime(c.get().Runtime)
	if err != nil {
		return err
	}
	_, err = e.cfg.Runtime.Create(ctx, runtime.CreateOptions{
		Runtime: other,
		ID:      c.id, Bundle: e.bundle(c.id), Log: logs.LogConfig,
		OpenStdin: c.get().Spec.GetOpenStdin(), Init: c.get().Spec.GetInit(),
		CgroupPath: e.groupPath(c.get()), KeepParents: c.get().Spec.GetCgroupParent() != "",
	})
	return err
}

func (e *Engine) releaseRuntime(ctx context.Context, c *container) error {
	return e.deleteProcesses(ctx, c.id)
}

// deleteProcesses gives up on some that do not die: nobody can use their container, or end the daemon, meanwhile.
func (e *Engine) deleteProcesses(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, killWait)
	defer cancel()
	return e.cfg.Runtime.Delete(ctx, id)
}

// unmount undoes a mount of ours; nothing there is no error.
func unmount(target string) error {
	err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == unix.EINVAL || err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}

// mounted says whether something is mounted at dir.
func mounted(dir string) bool {
	var here, above unix.Stat_t
	if unix.Lstat(dir, &here) != nil || unix.Lstat(filepath.Dir(dir), &above) != nil {
		return false
	}
	return here.Dev != above.Dev
}
