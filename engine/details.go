//go:build linux

package engine

import (
	"cmp"
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/proto/api"
)

// InspectDetails is Inspect with what scripts look for beside the row: where the container's files are, its health check.
func (e *Engine) InspectDetails(ctx context.Context, ref string) (*api.Container, *api.ContainerDetails, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, nil, err
	}
	row := c.get()
	d := &api.ContainerDetails{
		Directory: e.rowDir(c.id), Root: e.rootfs(c.id),
		Healthcheck: mergedHealth(row.Spec.GetHealthcheck(), c.img.Health), VolumesFrom: c.req.GetVolumesFrom(),
	}
	if mounts, err := e.cfg.Snapshots.Mounts(ctx, c.id); err == nil { // without a snapshot it is being removed
		rootLayers(d, mounts)
	}
	return row, d, nil
}

// mergedHealth is the check as asked for, the image's where the container says nothing; nil if there is none.
func mergedHealth(own, image *api.HealthConfig) *api.HealthConfig {
	test := own.GetTest()
	if len(test) == 0 {
		test = image.GetTest()
	}
	if len(test) == 0 {
		return nil
	}
	first := func(a, b *durationpb.Duration) *durationpb.Duration {
		if a.AsDuration() != 0 {
			return a
		}
		return b
	}
	return &api.HealthConfig{
		Test: test, Retries: cmp.Or(own.GetRetries(), image.GetRetries()),
		Interval: first(own.GetInterval(), image.GetInterval()), Timeout: first(own.GetTimeout(), image.GetTimeout()),
		StartPeriod: first(own.GetStartPeriod(), image.GetStartPeriod()), StartInterval: first(own.GetStartInterval(), image.GetStartInterval()),
	}
}

// rootLayers reads the directories from the options of the overlay that is the root file system.
func rootLayers(d *api.ContainerDetails, mounts []snapshot.Mount) {
	for _, m := range mounts {
		for _, o := range m.Options {
			switch key, value, _ := strings.Cut(o, "="); key {
			case "lowerdir":
				d.LowerDirs = strings.Split(value, ":")
			case "upperdir":
				d.UpperDir = value
			case "workdir":
				d.WorkDir = value
			}
		}
	}
}
