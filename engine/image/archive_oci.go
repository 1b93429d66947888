//go:build linux

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

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
