//go:build linux

package image

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// ImportOptions say what the image shall be beside its files.
type ImportOptions struct {
	Ref      string        // its name; empty: none
	Changes  []string      // Dockerfile lines, see ApplyChanges
	Message  string        // for the history
	Platform *api.Platform // nil: the store's
}

// Import makes an image of one layer from the tar of a root file system, plain or compressed with gzip or zstd.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions, report ProgressFunc) (*api.Image, error) {
	img, err := s.importTar(ctx, r, o, &progress{report: report})
	if err != nil {
		s.sweepAfter(ctx, "import")
		return nil, fmt.Errorf("import image: %w", err)
	}
	s.Notify("import", img.Id, firstTag(img))
	return img, nil
}

func (s *Store) importTar(ctx context.Context, r io.Reader, o ImportOptions, p *progress) (*api.Image, error) {
	names, err := refKeys(o.Ref)
	if err != nil {
		return nil, err
	}
	spec, err := s.importSpec(o)
	if err != nil {
		return nil, err
	}
	hold := s.leases.open()
	defer hold.release()
	layer, err := s.storeFile(p.reader(r, "", "Reading", 0, 0), hold)
	if err != nil {
		return nil, err
	}
	if layer.MediaType, err = s.layerType(layer.Digest); err != nil {
		return nil, fmt.Errorf("%w: the input is not a tar archive: %w", ErrInvalid, err)
	}
	diff, err := s.diffID(layer)
	if err != nil {
		return nil, err
	}
	spec.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}
	return s.publish(ctx, spec, []v1.Descriptor{layer}, names, hold, p)
}

func (s *Store) importSpec(o ImportOptions) (*Spec, error) {
	now := time.Now().UTC()
	spec := &Spec{}
	platform := s.platform(o.Platform)
	spec.Created, spec.OS, spec.Architecture = &now, platform.OS, platform.Architecture
	spec.History = []v1.History{{Created: &now, Comment: cmp.Or(o.Message, "Imported from a root file system")}}
	return spec, ApplyChanges(&spec.Config, o.Changes)
}

// publish makes an image of a config and of layers that are in the store.
func (s *Store) publish(ctx context.Context, spec *Spec, layers []v1.Descriptor, names []string, hold *lease, p *progress) (*api.Image, error) {
	m, err := s.putImage(ctx, spec, layers, hold)
	if err != nil {
		return nil, err
	}
	here := func(context.Context, v1.Descriptor) error { return nil }
	r, err := s.assemble(ctx, m, here, hold, p)
	if err != nil {
		return nil, err
	}
	if err := s.commit(r, names); err != nil {
		return nil, err
	}
	return s.finish(ctx, r, names, p)
}
