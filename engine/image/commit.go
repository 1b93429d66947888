//go:build linux

package image

import (
	"context"
	"fmt"
	"io"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// CommitOptions say what an image is made of.
type CommitOptions struct {
	Parent    string                  // ID of the image below
	Layer     func(w io.Writer) error // writes what lies on top, as a layer's tar
	Configure func(*RunConfig) error  // changes the parent's config
	Changes   []string                // Dockerfile lines, applied after that
	Ref       string                  // name of the result; empty: none
	Author    string
	Message   string
	CreatedBy string // the command that made the layer, for the history
}

// emptyTar is the size of an archive without entries.
const emptyTar = 1024

// Commit makes an image of another one and a layer.
func (s *Store) Commit(ctx context.Context, o CommitOptions) (*api.Image, error) {
	img, err := s.commitLayer(ctx, o)
	if err != nil {
		s.sweepAfter(ctx, "commit")
		return nil, fmt.Errorf("commit image: %w", err)
	}
	if o.Ref != "" {
		s.Notify("tag", img.Id, firstTag(img))
	}
	return img, nil
}

func (s *Store) commitLayer(ctx context.Context, o CommitOptions) (*api.Image, error) {
	names, err := refKeys(o.Ref)
	if err != nil {
		return nil, err
	}
	hold := s.leases.open()
	defer hold.release()
	parent, err := s.holdImage(o.Parent, hold)
	if err != nil {
		return nil, err
	}
	spec, err := s.commitSpec(parent, o)
	if err != nil {
		return nil, err
	}
	layer, err := s.storeLayer(o.Layer, hold)
	if err != nil {
		return nil, err
	}
	layers, err := s.layersOf(parent)
	if err != nil {
		return nil, err
	}
	history := v1.History{Created: spec.Created, CreatedBy: o.CreatedBy, Author: o.Author, Comment: o.Message, EmptyLayer: layer.Size == emptyTar}
	if !history.EmptyLayer {
		layers = append(layers, layer)
		spec.RootFS.DiffIDs = append(spec.RootFS.DiffIDs, layer.Digest)
	}
	spec.History = append(spec.History, history)
	return s.publish(ctx, spec, layers, names, hold, &progress{report: func(*api.ImageProgress) {}})
}

// holdImage finds an image and keeps the sweep from all that belongs to it. It looks twice, since the image may have been
// removed before it was held.
func (s *Store) holdImage(id string, hold *lease) (*record, error) {
	var r *record
	for range 2 {
		c, err := s.catalog()
		if err != nil {
			return nil, err
		}
		if r, _, err = c.resolve(id); err != nil {
			return nil, err
		}
		for _, d := range r.blobs() {
			hold.hold(d.Digest)
		}
		for _, l := range r.Layers {
			hold.hold(l.ChainID)
		}
	}
	return r, nil
}

// layersOf describes an image's layers in OCI's terms, whatever its own manifest called them.
func (s *Store) layersOf(r *record) ([]v1.Descriptor, error) {
	var out []v1.Descriptor
	for _, l := range r.Layers {
		kind, err := s.layerType(l.Blob)
		if err != nil {
			return nil, err
		}
		out = append(out, v1.Descriptor{MediaType: kind, Digest: l.Blob, Size: l.BlobSize})
	}
	return out, nil
}

func (s *Store) commitSpec(parent *record, o CommitOptions) (*Spec, error) {
	raw, err := s.Content.ReadSmall(parent.ID, maxConfig)
	if err != nil {
		return nil, err
	}
	spec, err := ParseSpec(raw)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	spec.Created, spec.Author = &now, o.Author
	if o.Configure != nil {
		if err := o.Configure(&spec.Config); err != nil {
			return nil, err
		}
	}
	return spec, ApplyChanges(&spec.Config, o.Changes)
}

// storeLayer makes a blob of what write writes.
func (s *Store) storeLayer(write func(io.Writer) error, hold *lease) (v1.Descriptor, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	defer r.Close() // ends write if the blob cannot be stored
	d, err := s.storeFile(r, hold)
	d.MediaType = v1.MediaTypeImageLayer
	return d, err
}
