//go:build linux

package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// chosen is an image to be saved under the names that were asked for; by ID, it has none.
type chosen struct {
	record *record
	names  []string
}

// Save writes images as one tar: an OCI layout that has docker's manifest.json too, so that docker load and OCI tools both
// read it. Blobs are written as they were received.
func (s *Store) Save(ctx context.Context, refs []string, w io.Writer) error {
	if len(refs) == 0 {
		return fmt.Errorf("%w: save needs the name of an image", ErrInvalid)
	}
	images, err := s.choose(refs)
	if err != nil {
		return err
	}
	hold := s.leases.open() // a removal meanwhile waits for us
	defer hold.release()
	for _, c := range images {
		for _, d := range c.record.blobs() {
			hold.hold(d.Digest)
		}
	}
	if err := s.writeArchive(ctx, images, w); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	for _, c := range images {
		s.Notify("save", c.record.ID.String(), "")
	}
	return nil
}

func (s *Store) choose(refs []string) ([]*chosen, error) {
	c, err := s.catalog()
	if err != nil {
		return nil, err
	}
	var images []*chosen
	for _, ref := range c.expand(refs) {
		r, name, err := c.resolve(ref)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(images, func(x *chosen) bool { return x.record == r })
		if i < 0 {
			images = append(images, &chosen{record: r})
			i = len(images) - 1
		}
		if name != "" && !isDigestKey(name) && !slices.Contains(images[i].names, name) {
			images[i].names = append(images[i].names, name)
		}
	}
	return images, nil
}

// expand replaces names without a tag by all tags of their repository, as docker save does.
func (c *catalog) expand(refs []string) []string {
	var out []string
	for _, ref := range refs {
		tags := c.tagsOf(ref)
		if len(tags) == 0 {
			tags = []string{ref}
		}
		out = append(out, tags...)
	}
	return out
}

// tagsOf are the names in the repository that ref names, none if it names one image.
func (c *catalog) tagsOf(ref string) []string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil || !reference.IsNameOnly(named) {
		return nil
	}
	var out []string
	for name := range c.names {
		if !isDigestKey(name) && repository(name) == named.Name() {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// blobs are all that belongs to an image.
func (r *record) blobs() []v1.Descriptor {
	ds := []v1.Descriptor{{Digest: r.Manifest}, {Digest: r.ID}}
	for _, l := range r.Layers {
		ds = append(ds, v1.Descriptor{Digest: l.Blob, Size: l.BlobSize})
	}
	return ds
}

func (s *Store) writeArchive(ctx context.Context, images []*chosen, w io.Writer) error {
	tw := tar.NewWriter(w)
	written := map[digest.Digest]bool{}
	for _, c := range images {
		for _, d := range c.record.blobs() {
			if written[d.Digest] {
				continue
			}
			written[d.Digest] = true
			if err := s.writeBlob(ctx, tw, d.Digest); err != nil {
				return err
			}
		}
	}
	ix, docker, err := s.tables(images)
	if err != nil {
		return err
	}
	layout := v1.ImageLayout{Version: v1.ImageLayoutVersion}
	return errors.Join(
		writeJSON(tw, v1.ImageLayoutFile, layout), writeJSON(tw, v1.ImageIndexFile, ix), writeJSON(tw, "manifest.json", docker),
		tw.Close())
}

func (s *Store) writeBlob(ctx context.Context, tw *tar.Writer, d digest.Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := s.Content.Open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(header(blobPath(d), fi.Size())); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

func writeJSON(tw *tar.Writer, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(header(name, int64(len(b)))); err != nil {
		return err
	}
	_, err = tw.Write(b)
	return err
}

// header has no time, so that the same images give the same archive.
func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}
