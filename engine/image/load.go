//go:build linux

package image

import (
	"context"
	"fmt"
	"io"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// Load reads an archive that docker save or an OCI tool wrote, plain or compressed with gzip or zstd, and returns its
// images. Of an image for several platforms it takes the store's.
func (s *Store) Load(ctx context.Context, r io.Reader, report ProgressFunc) ([]*api.Image, error) {
	images, err := s.load(ctx, r, &progress{report: report})
	if err != nil {
		err = fmt.Errorf("load images: %w", err)
	}
	s.sweepAfter(ctx, "load") // what was in the archive and belongs to no image
	for _, img := range images {
		s.Notify("load", img.Id, firstTag(img))
	}
	return images, err
}

// firstTag is a name of an image, "" if it has none.
func firstTag(img *api.Image) string {
	if len(img.Tags) == 0 {
		return ""
	}
	return img.Tags[0]
}

func (s *Store) load(ctx context.Context, r io.Reader, p *progress) ([]*api.Image, error) {
	hold := s.leases.open()
	defer hold.release()
	a, err := s.readArchive(ctx, r, hold, p)
	if err != nil {
		return nil, err
	}
	wanted, err := s.contents(ctx, a, hold)
	if err != nil {
		return nil, err
	}
	var images []*api.Image
	for _, w := range wanted {
		img, err := s.loadOne(ctx, w, hold, p)
		if err != nil {
			return images, err
		}
		images = append(images, img)
	}
	return images, nil
}

// loadOne unpacks one image. All its blobs are in the store already.
func (s *Store) loadOne(ctx context.Context, w wantedImage, hold *lease, p *progress) (*api.Image, error) {
	present := func(_ context.Context, d v1.Descriptor) error {
		if !s.Content.Has(d.Digest) {
			return fmt.Errorf("the archive lacks blob %s", d.Digest)
		}
		return nil
	}
	r, err := s.assemble(ctx, w.manifest, present, hold, p)
	if err != nil {
		return nil, err
	}
	slices.Sort(w.names)
	names := slices.Compact(w.names)
	if err := s.commit(r, names); err != nil {
		return nil, err
	}
	img, err := s.Get(ctx, r.ID.String())
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, isDigestKey)
	for _, n := range names {
		p.last(img.Id, familiar(n))
	}
	if len(names) == 0 {
		p.last(img.Id, "")
	}
	return img, nil
}
