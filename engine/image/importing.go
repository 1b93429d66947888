//go:build linux

package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// ImportOptions say what the image shall be beside its files.
type ImportOptions struct {
	Ref      string        // its name; empty: none
	Changes  []string      // Dockerfile lines, see ApplyChange
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
	var names []string
	if o.Ref != "" {
		named, err := parseTag(o.Ref)
		if err != nil {
			return nil, err
		}
		names = []string{key(named)}
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
	m, err := s.putImage(ctx, spec, []v1.Descriptor{layer}, hold)
	if err != nil {
		return nil, err
	}
	here := func(context.Context, v1.Descriptor) error { return nil }
	rec, err := s.assemble(ctx, m, here, hold, p)
	if err != nil {
		return nil, err
	}
	if err := s.commit(rec, names); err != nil {
		return nil, err
	}
	return s.finish(ctx, rec, names, p)
}

func (s *Store) importSpec(o ImportOptions) (*Spec, error) {
	now := time.Now().UTC()
	spec := &Spec{}
	platform := s.platform(o.Platform)
	spec.Created, spec.OS, spec.Architecture = &now, platform.OS, platform.Architecture
	spec.History = []v1.History{{Created: &now, Comment: cmp.Or(o.Message, "Imported from a root file system")}}
	for _, line := range o.Changes {
		if err := ApplyChange(&spec.Config, line); err != nil {
			return nil, fmt.Errorf("%w change %q: %w", ErrInvalid, line, err)
		}
	}
	return spec, nil
}

// diffID is the digest of a layer without its compression.
func (s *Store) diffID(l v1.Descriptor) (digest.Digest, error) {
	if l.MediaType == v1.MediaTypeImageLayer {
		return l.Digest, nil
	}
	f, err := s.Content.Open(l.Digest)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, err := decompress(f)
	if err != nil {
		return "", fmt.Errorf("decompress: %w", err)
	}
	defer r.Close()
	d, err := digest.SHA256.FromReader(r)
	if err != nil {
		return "", fmt.Errorf("decompress: %w", err)
	}
	return d, nil
}

// putImage stores config and manifest of an image made here.
func (s *Store) putImage(ctx context.Context, spec *Spec, layers []v1.Descriptor, hold *lease) (rawManifest, error) {
	config, err := json.Marshal(spec)
	if err != nil {
		return rawManifest{}, err
	}
	id := digest.FromBytes(config)
	m, err := newManifest(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: id, Size: int64(len(config))},
		Layers: layers,
	})
	if err != nil {
		return rawManifest{}, err
	}
	hold.hold(id)
	hold.hold(m.digest)
	return m, errors.Join(s.putBlob(ctx, id, config), s.putBlob(ctx, m.digest, m.body))
}
