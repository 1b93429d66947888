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
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// archive is what a tar of images holds: every file went into the content store as it came by.
type archive struct {
	files map[string]v1.Descriptor // by path; digest and size
	links map[string]string        // symbolic and hard links of old docker save archives
}

// dockerEntry is an element of manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

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

// ociContents follows index.json. Entries for one image (several names) are joined.
func (s *Store) ociContents(a *archive, ix v1.Index, docker []dockerEntry) ([]wantedImage, error) {
	var wanted []wantedImage
	for _, d := range ix.Manifests {
		m, err := s.followIndex(a, d)
		if err != nil {
			return nil, err
		}
		if artifact(m) {
			continue
		}
		names, err := ociNames(d)
		if err != nil {
			return nil, err
		}
		more, err := s.dockerNames(a, m, docker)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
		i := slices.IndexFunc(wanted, func(w wantedImage) bool { return w.manifest.digest == m.digest })
		if i < 0 {
			wanted = append(wanted, wantedImage{manifest: m})
			i = len(wanted) - 1
		}
		wanted[i].names = append(wanted[i].names, names...)
	}
	if len(wanted) == 0 {
		return nil, errors.New("index.json names no image")
	}
	return wanted, nil
}

// artifact tells manifests that are no images (attestations, signatures).
func artifact(m rawManifest) bool {
	var head struct {
		Config v1.Descriptor
	}
	json.Unmarshal(m.body, &head) // a body that cannot be read is refused later, with its reason
	t := head.Config.MediaType
	return t != "" && t != v1.MediaTypeImageConfig && t != dockerConfig
}

// followIndex reads the manifest d, or the one for this platform if d is an index.
func (s *Store) followIndex(a *archive, d v1.Descriptor) (rawManifest, error) {
	for range 4 {
		body, err := s.archiveBlob(a, d)
		if err != nil {
			return rawManifest{}, err
		}
		switch d.MediaType {
		case v1.MediaTypeImageManifest, dockerManifest:
			return rawManifest{digest: d.Digest, mediaType: d.MediaType, body: body}, nil
		case v1.MediaTypeImageIndex, dockerIndex:
			if d, err = choosePlatform(body, s.Platform); err != nil {
				return rawManifest{}, err
			}
		default:
			return rawManifest{}, fmt.Errorf("manifests of type %q are not supported", d.MediaType)
		}
	}
	return rawManifest{}, errors.New("indexes are nested too deeply")
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

// ociNames reads the annotations that tools use for names: containerd's whole name, else OCI's if it is a name and not
// just a tag.
func ociNames(d v1.Descriptor) ([]string, error) {
	n := d.Annotations["io.containerd.image.name"]
	if n == "" {
		if n = d.Annotations[v1.AnnotationRefName]; !strings.ContainsAny(n, ":/") {
			return nil, nil
		}
	}
	named, err := parseName(n)
	if err != nil {
		return nil, err
	}
	return []string{key(named)}, nil
}

// dockerNames finds the names of manifest.json for the image of an OCI manifest.
func (s *Store) dockerNames(a *archive, m rawManifest, docker []dockerEntry) ([]string, error) {
	var manifest v1.Manifest
	if err := json.Unmarshal(m.body, &manifest); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", m.digest, err)
	}
	var names []string
	for _, e := range docker {
		if d, ok := a.find(e.Config); !ok || d.Digest != manifest.Config.Digest {
			continue
		}
		tags, err := tagKeys(e.RepoTags)
		if err != nil {
			return nil, err
		}
		names = append(names, tags...)
	}
	return names, nil
}

func tagKeys(tags []string) ([]string, error) {
	var keys []string
	for _, t := range tags {
		named, err := parseTag(t)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key(named))
	}
	return keys, nil
}

// dockerContents makes an OCI manifest for an image of which the archive only has config and layers.
func (s *Store) dockerContents(ctx context.Context, a *archive, e dockerEntry, hold *lease) (wantedImage, error) {
	config, ok := a.find(e.Config)
	if !ok {
		return wantedImage{}, fmt.Errorf("the archive lacks %q, which manifest.json names", e.Config)
	}
	config.MediaType = v1.MediaTypeImageConfig
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{}}
	for _, name := range e.Layers {
		l, ok := a.find(name)
		if !ok {
			return wantedImage{}, fmt.Errorf("the archive lacks %q, which manifest.json names", name)
		}
		var err error
		if l.MediaType, err = s.layerType(l.Digest); err != nil {
			return wantedImage{}, err
		}
		m.Layers = append(m.Layers, l)
	}
	raw, err := newManifest(m)
	if err != nil {
		return wantedImage{}, err
	}
	hold.hold(raw.digest)
	names, err := tagKeys(e.RepoTags)
	return wantedImage{manifest: raw, names: names}, errors.Join(err, s.putBlob(ctx, raw.digest, raw.body))
}

func newManifest(m v1.Manifest) (rawManifest, error) {
	body, err := json.Marshal(m)
	return rawManifest{digest: digest.FromBytes(body), mediaType: m.MediaType, body: body}, err
}

// layerType looks at the first bytes of a layer.
func (s *Store) layerType(d digest.Digest) (string, error) {
	f, err := s.Content.Open(d)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return "", fmt.Errorf("layer %s is not a tar archive: %w", d, err)
	}
	switch {
	case magic[0] == 0x1f && magic[1] == 0x8b:
		return v1.MediaTypeImageLayerGzip, nil
	case magic == [4]byte{0x28, 0xb5, 0x2f, 0xfd}:
		return v1.MediaTypeImageLayerZstd, nil
	}
	return v1.MediaTypeImageLayer, nil
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
