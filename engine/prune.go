//go:build linux

package engine

import (
	"context"
	"errors"
	"strconv"

	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/proto/api"
)

// Prune removes what nobody uses, of the kinds that are asked for: containers first, since they hold the rest. Containers
// of services are left to their service. What is taken into use meanwhile stays.
func (e *Engine) Prune(ctx context.Context, r *api.PruneRequest) (*api.PruneResponse, error) {
	f, err := parsePruneFilters(r.GetFilters())
	if err != nil {
		return nil, err
	}
	if (r.Volumes || r.AllVolumes) && !f.until.IsZero() {
		return nil, errorf(ErrInvalid, "volumes cannot be pruned with the filter \"until\": leave them or it out")
	}
	out := &api.PruneResponse{}
	for _, part := range []struct {
		wanted bool
		about  string
		prune  func(context.Context, *api.PruneRequest, *pruneFilters, *api.PruneResponse) error
	}{
		{r.Containers, aboutContainer, e.pruneContainers},
		{r.Networks, aboutNetwork, e.pruneNetworks},
		{r.Volumes || r.AllVolumes, aboutVolume, e.pruneVolumes},
		{r.Images || r.AllImages, aboutImage, e.pruneImages},
	} {
		if !part.wanted {
			continue
		}
		before := out.Reclaimed
		if err := part.prune(ctx, r, f, out); err != nil {
			return nil, err
		}
		e.announce(part.about, "prune", "", map[string]string{"reclaimed": strconv.FormatInt(out.Reclaimed-before, 10)})
	}
	return out, nil
}

// inUseAfterAll says that something that was to be pruned is used, or gone, since it was looked at.
func inUseAfterAll(err error) bool {
	for _, kind := range []error{ErrPrecondition, ErrNotFound, image.ErrInUse, image.ErrNotFound, network.ErrInUse, network.ErrNotFound, volume.ErrInUse, volume.ErrNotFound} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (e *Engine) pruneContainers(ctx context.Context, _ *api.PruneRequest, f *pruneFilters, out *api.PruneResponse) error {
	for _, c := range e.all() {
		row := c.get()
		if active(row.State) || row.State == api.ContainerState_RESTARTING || row.TaskId != "" || !f.match(row.Spec.GetLabels(), row.CreatedAt) {
			continue
		}
		size := e.withSize(ctx, row).SizeRw
		err := e.Remove(ctx, c.id, false, false)
		if inUseAfterAll(err) {
			continue
		}
		if err != nil {
			return err
		}
		out.Containers = append(out.Containers, c.id)
		out.Reclaimed += size
	}
	return nil
}

func (e *Engine) pruneNetworks(ctx context.Context, _ *api.PruneRequest, f *pruneFilters, out *api.PruneResponse) error {
	for _, n := range e.cfg.Networks.List() {
		if builtinNetwork(n) || !f.match(n.Labels, n.CreatedAt) {
			continue
		}
		_, err := e.RemoveNetwork(ctx, n.Id)
		if inUseAfterAll(err) {
			continue
		}
		if err != nil {
			return err
		}
		out.Networks = append(out.Networks, n.Name)
	}
	return nil
}

func builtinNetwork(n *api.LocalNetwork) bool {
	return n.Name == NetworkBridge || n.Name == NetworkHost || n.Name == NetworkNone
}

func (e *Engine) pruneVolumes(ctx context.Context, r *api.PruneRequest, f *pruneFilters, out *api.PruneResponse) error {
	volumes, err := e.cfg.Volumes.List(ctx)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if !v.Anonymous && !r.AllVolumes || !f.match(v.Labels, v.CreatedAt) || len(e.VolumeUsers(v.Name)) > 0 {
			continue
		}
		size := volumeSize(v)
		err := e.RemoveVolume(ctx, v.Name, false)
		if inUseAfterAll(err) {
			continue
		}
		if err != nil {
			return err
		}
		out.Volumes = append(out.Volumes, v.Name)
		out.Reclaimed += size
	}
	return nil
}

func (e *Engine) pruneImages(ctx context.Context, r *api.PruneRequest, f *pruneFilters, out *api.PruneResponse) error {
	images, err := e.cfg.Images.List(ctx)
	if err != nil {
		return err
	}
	before, err := e.cfg.Images.LayerBytes()
	if err != nil {
		return err
	}
	for _, img := range images {
		named := len(img.Tags)+len(img.Digests) > 0
		if named && !r.AllImages || len(e.imageUsers(img.Id)) > 0 || !f.match(imageLabels(img), img.CreatedAt) {
			continue
		}
		if err := e.pruneImage(ctx, img, out); err != nil {
			return err
		}
	}
	after, err := e.cfg.Images.LayerBytes()
	out.Reclaimed += max(0, before-after)
	return err
}

// pruneImage takes an image's names away one by one, which removes it with the last unless somebody uses it by now.
func (e *Engine) pruneImage(ctx context.Context, img *api.Image, out *api.PruneResponse) error {
	refs := append(append([]string{}, img.Tags...), img.Digests...)
	if len(refs) == 0 {
		refs = []string{img.Id}
	}
	for _, ref := range refs {
		done, err := e.cfg.Images.Remove(ctx, ref, false)
		if inUseAfterAll(err) {
			continue // a digest goes with its repository's last tag
		}
		if err != nil {
			return err
		}
		for _, name := range done.Untagged {
			out.Images = append(out.Images, "untagged: "+name)
		}
		for _, id := range done.Deleted {
			out.Images = append(out.Images, "deleted: "+id)
		}
	}
	return nil
}

func imageLabels(img *api.Image) map[string]string {
	s, err := image.ParseSpec(img.Config)
	if err != nil {
		return nil
	}
	return s.Config.Labels
}
