//go:build linux

package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// archive is what a tar of images holds: every file went into the content store as it came by.
type archive struct {
	files map[string]v1.Descriptor // by path; digest and size
	links map[string]string        // symbolic and hard links of old docker save archives
}

func isSparse(h *tar.Header) bool {
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// storeFile stores r as a blob, leased before it is published.
func (s *Store) storeFile(r io.Reader, hold *lease) (v1.Descriptor, error) {
	in, err := s.Content.Create()
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer in.Close()
	if _, err := io.Copy(in, r); err != nil {
		return v1.Descriptor{}, err
	}
	hold.hold(in.Digest())
	size := in.Size()
	s.FaultPoint("image.written")
	d, err := in.Commit()
	s.FaultPoint("image.blob")
	return v1.Descriptor{Digest: d, Size: size}, err
}

// readArchive stores every file of the tar as a blob: most are blobs, and what is not is swept later.
func (s *Store) readArchive(ctx context.Context, r io.Reader, hold *lease, p *progress) (*archive, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	a := &archive{files: map[string]v1.Descriptor{}, links: map[string]string{}}
	tr := tar.NewReader(plain)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the input is not a tar archive of images: %w", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		switch h.Typeflag {
		case tar.TypeReg:
			if isSparse(h) { // of any length, in a few bytes
				return nil, fmt.Errorf("read %s: no file of an image's archive is sparse", name)
			}
			d, err := s.storeFile(p.reader(tr, "", "Reading "+path.Base(name), 0, h.Size), hold)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
			a.files[name] = d
		case tar.TypeSymlink:
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			a.links[name] = path.Clean("/" + h.Linkname)[1:]
		}
	}
}

// find looks up a path, through links.
func (a *archive) find(name string) (v1.Descriptor, bool) {
	name = path.Clean("/" + name)[1:]
	for range 8 {
		if d, ok := a.files[name]; ok {
			return d, true
		}
		to, ok := a.links[name]
		if !ok {
			break
		}
		name = to
	}
	return v1.Descriptor{}, false
}

// archiveBlob returns a small blob that the archive must hold under its digest.
func (s *Store) archiveBlob(a *archive, d v1.Descriptor) ([]byte, error) {
	if err := a.has(d); err != nil {
		return nil, err
	}
	return s.Content.ReadSmall(d.Digest, maxConfig)
}

// has checks that the file for a blob is there and is what its name says.
func (a *archive) has(d v1.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	got, ok := a.find(path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded()))
	switch {
	case !ok:
		return fmt.Errorf("the archive lacks blob %s", d.Digest)
	case got.Digest != d.Digest:
		return fmt.Errorf("the archive is damaged: blob %s has the content of %s", d.Digest, got.Digest)
	}
	return nil
}

// wantedImage is an image of an archive with the names that it shall have.
type wantedImage struct {
	manifest rawManifest
	names    []string
}

// contents finds the images. An OCI index says most; docker's manifest.json beside it still gives names.
func (s *Store) contents(ctx context.Context, a *archive, hold *lease) ([]wantedImage, error) {
	var docker []dockerEntry
	if d, ok := a.find("manifest.json"); ok {
		if err := s.readJSON(d.Digest, &docker); err != nil {
			return nil, fmt.Errorf("manifest.json: %w", err)
		}
	}
	if d, ok := a.find("index.json"); ok {
		var ix v1.Index
		if err := s.readJSON(d.Digest, &ix); err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
		return s.ociContents(a, ix, docker)
	}
	if docker == nil {
		return nil, errors.New("the archive has neither manifest.json nor index.json: a root file system is read by image import")
	}
	var wanted []wantedImage
	for _, e := range docker {
		w, err := s.dockerContents(ctx, a, e, hold)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, w)
	}
	return wanted, nil
}

func (s *Store) readJSON(d digest.Digest, v any) error {
	b, err := s.Content.ReadSmall(d, maxConfig)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
