//go:build linux

package image

import (
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// tables are index.json and manifest.json.
func (s *Store) tables(images []*chosen) (v1.Index, []dockerEntry, error) {
	ix := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	var docker []dockerEntry
	for _, c := range images {
		r := c.record
		size, err := s.Content.Size(r.Manifest)
		if err != nil {
			return ix, nil, err
		}
		d := v1.Descriptor{MediaType: r.MediaType, Digest: r.Manifest, Size: size,
			Platform: &v1.Platform{OS: r.Platform.OS, Architecture: r.Platform.Architecture}}
		entry := dockerEntry{Config: blobPath(r.ID), Layers: []string{}}
		for _, l := range r.Layers {
			entry.Layers = append(entry.Layers, blobPath(l.Blob))
		}
		for _, n := range c.names {
			entry.RepoTags = append(entry.RepoTags, familiar(n))
			named := d
			named.Annotations = map[string]string{"io.containerd.image.name": n, v1.AnnotationRefName: tagOf(n)}
			ix.Manifests = append(ix.Manifests, named)
		}
		if len(c.names) == 0 {
			ix.Manifests = append(ix.Manifests, d)
		}
		docker = append(docker, entry)
	}
	return ix, docker, nil
}

func tagOf(key string) string {
	if named, err := reference.ParseNormalizedNamed(key); err == nil {
		if t, ok := named.(reference.Tagged); ok {
			return t.Tag()
		}
	}
	return strings.TrimPrefix(key, repository(key))
}

func blobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}
