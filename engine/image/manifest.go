//go:build linux

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// newManifest is the text of a manifest that is made here.
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

// rawManifest is a manifest or index as it came, with its digest.
type rawManifest struct {
	digest    digest.Digest
	mediaType string
	body      []byte
}

func parseManifest(m rawManifest) (*v1.Manifest, error) {
	manifest := &v1.Manifest{}
	if err := json.Unmarshal(m.body, manifest); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", m.digest, err)
	}
	if t := manifest.Config.MediaType; t != v1.MediaTypeImageConfig && t != dockerConfig {
		return nil, fmt.Errorf("%s is not a container image but an artifact of type %q", m.digest, t)
	}
	for _, d := range append([]v1.Descriptor{manifest.Config}, manifest.Layers...) {
		if err := d.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("manifest %s: digest %q: %w", m.digest, d.Digest, err)
		}
		if d.Size < 0 {
			return nil, fmt.Errorf("manifest %s: %s has a negative size", m.digest, d.Digest)
		}
	}
	return manifest, nil
}

// newRecord joins manifest and config.
func (s *Store) newRecord(m rawManifest, manifest *v1.Manifest) (*record, error) {
	raw, err := s.Content.ReadSmall(manifest.Config.Digest, maxConfig)
	if err != nil {
		return nil, err
	}
	config, err := ParseSpec(raw)
	if err != nil {
		return nil, err
	}
	if config.OS != "linux" {
		return nil, fmt.Errorf("the image is for %s, only Linux images can run here", platformText(Platform{config.OS, config.Architecture}))
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, errNoLayers
	}
	r := &record{
		ID: manifest.Config.Digest, Manifest: m.digest, MediaType: m.mediaType,
		Platform: Platform{OS: config.OS, Architecture: config.Architecture},
	}
	if config.Created != nil {
		r.Created = *config.Created
	}
	chain := ""
	for i, l := range manifest.Layers {
		diff := config.RootFS.DiffIDs[i]
		if err := diff.Validate(); err != nil {
			return nil, fmt.Errorf("image config: diff ID %q: %w", diff, err)
		}
		chain = nextChain(chain, diff.String())
		r.Layers = append(r.Layers, layerRecord{
			MediaType: l.MediaType, Blob: l.Digest, BlobSize: l.Size, DiffID: diff, ChainID: digest.Digest(chain),
		})
	}
	return r, nil
}

func platformText(p Platform) string { return p.OS + "/" + p.Architecture }

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
