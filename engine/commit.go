//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/shoal-dev/shoal/engine/archive"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// Commit makes an image of a container: of what it was made from, what it wrote since, and how it is run. It returns the
// image's ID. What is in volumes is not in the image.
func (e *Engine) Commit(ctx context.Context, r *api.CommitRequest) (string, error) {
	c, err := e.find(r.GetRef())
	if err != nil {
		return "", err
	}
	upper, err := e.upperDir(ctx, c)
	if err != nil {
		return "", err
	}
	if whole, err := e.wholeSnapshots(ctx, c.id); err != nil || whole && c.img.ChainID != "" {
		return "", errors.Join(err, errorf(ErrPrecondition, "containers cannot be committed with this storage driver: export and import instead"))
	}
	row := c.get()
	o := image.CommitOptions{
		Parent: row.ImageId, Ref: r.Image, Author: r.Author, Message: r.Message, CreatedBy: strings.Join(row.Command, " "), Changes: r.Changes,
		Layer:     func(w io.Writer) error { return archive.WriteLayer(ctx, upper, usersOf(row, false), madeForMounts, w) },
		Configure: func(config *image.RunConfig) error { return runAs(config, row) },
	}
	var img *api.Image
	commit := func() (err error) {
		img, err = e.cfg.Images.Commit(ctx, o)
		return err
	}
	if r.Pause {
		err = e.whileFrozen(ctx, c, commit)
	} else {
		err = commit()
	}
	if errors.Is(err, image.ErrNotFound) {
		return "", errorf(ErrPrecondition, "the image of container %s is gone: export and import the container instead", row.Name)
	}
	if err != nil {
		return "", err
	}
	e.emit(c, "commit", map[string]string{"imageID": img.Id, "comment": r.Message})
	return img.Id, nil
}

// whileFrozen runs f while a running container stands still. The row does not say so: it is for a moment.
func (e *Engine) whileFrozen(ctx context.Context, c *container, f func() error) (err error) {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.get().State != api.ContainerState_CONTAINER_RUNNING {
		return f()
	}
	c.standsStill()
	switch err := e.cfg.Runtime.Pause(ctx, c.id); {
	case errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotRunning):
		return f()
	case err != nil:
		return fmt.Errorf("pause container %s: %w", c.get().Name, err)
	}
	e.cfg.FaultPoint("commit.paused")
	defer func() {
		e.cfg.FaultPoint("commit.made")
		resumed := e.cfg.Runtime.Resume(context.WithoutCancel(ctx), c.id)
		if !errors.Is(resumed, runtime.ErrNotFound) && !errors.Is(resumed, runtime.ErrNotRunning) {
			err = errors.Join(err, resumed)
		}
	}()
	return f()
}

// runAs lays what a container was asked for over its image's config.
func runAs(config *image.RunConfig, row *api.Container) error {
	s := row.Spec
	config.Env = spec.MergeEnv(config.Env, s.Env)
	if len(s.Entrypoint) > 0 || s.EntrypointSet {
		config.Entrypoint, config.Cmd = s.Entrypoint, nil
	}
	if len(s.Args) > 0 {
		config.Cmd = s.Args
	}
	for _, set := range []struct{ field, value *string }{
		{&config.User, &s.User}, {&config.WorkingDir, &s.Workdir}, {&config.StopSignal, &s.StopSignal},
	} {
		if *set.value != "" {
			*set.field = *set.value
		}
	}
	if len(s.Labels) > 0 && config.Labels == nil {
		config.Labels = map[string]string{}
	}
	maps.Copy(config.Labels, s.Labels)
	for _, port := range row.ExposedPorts {
		if config.ExposedPorts == nil {
			config.ExposedPorts = map[string]struct{}{}
		}
		config.ExposedPorts[port] = struct{}{}
	}
	for _, m := range s.Mounts {
		if m.Type == api.Mount_VOLUME && m.Source == "" {
			if config.Volumes == nil {
				config.Volumes = map[string]struct{}{}
			}
			config.Volumes[m.Target] = struct{}{}
		}
	}
	if h := s.Healthcheck; len(h.GetTest()) > 0 {
		config.Healthcheck = &image.Healthcheck{
			Test: h.Test, Interval: int64(h.Interval.AsDuration()), Timeout: int64(h.Timeout.AsDuration()), Retries: int(h.Retries),
			StartPeriod: int64(h.StartPeriod.AsDuration()), StartInterval: int64(h.StartInterval.AsDuration()),
		}
	}
	return nil
}
