//go:build linux

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerEntry is an element of manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
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
