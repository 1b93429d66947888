//go:build linux

package image

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// maxConfig bounds manifests and configs, which are held in memory.
const maxConfig = 4 << 20

// List returns all images, newest first.
func (s *Store) List(context.Context) ([]*api.Image, error) {
	c, err := s.catalog()
	if err != nil {
		return nil, err
	}
	images := make([]*api.Image, 0, len(c.images))
	for _, r := range c.images {
		img, err := s.describe(c, r)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	slices.SortFunc(images, func(a, b *api.Image) int {
		return cmp.Or(b.CreatedAt.AsTime().Compare(a.CreatedAt.AsTime()), cmp.Compare(a.Id, b.Id))
	})
	return images, nil
}

// Get returns the image that ref means: name[:tag][@digest], an ID, or the beginning of one. ErrNotFound if there is none.
func (s *Store) Get(_ context.Context, ref string) (*api.Image, error) {
	c, err := s.catalog()
	if err != nil {
		return nil, err
	}
	r, _, err := c.resolve(ref)
	if err != nil {
		return nil, err
	}
	return s.describe(c, r)
}

// Has tells whether an image with this ID is there.
func (s *Store) Has(id string) (ok bool) {
	s.db.View(func(tx *bolt.Tx) error {
		ok = tx.Bucket([]byte(imagesBucket)).Get([]byte(id)) != nil
		return nil
	})
	return ok
}

func (s *Store) describe(c *catalog, r *record) (*api.Image, error) {
	config, err := s.Content.ReadSmall(r.ID, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", r.ID, err)
	}
	img := &api.Image{
		Id:             r.ID.String(),
		CreatedAt:      timestamppb.New(r.Created),
		Platform:       &api.Platform{Os: r.Platform.OS, Architecture: r.Platform.Architecture},
		Config:         config,
		ManifestDigest: r.Manifest.String(),
	}
	for _, l := range r.Layers {
		img.Layers = append(img.Layers, l.DiffID.String())
		img.Size += l.Size
	}
	for _, name := range c.namesOf(r.ID) {
		if isDigestKey(name) {
			img.Digests = append(img.Digests, familiar(name))
		} else {
			img.Tags = append(img.Tags, familiar(name))
		}
	}
	return img, nil
}

// ChainID is the key of the snapshot that a container of the image starts from, "" for an image without layers.
func (s *Store) ChainID(img *api.Image) (string, error) {
	chain, err := chainOf(img.Layers)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", img.Id, err)
	}
	return chain, nil
}

// Spec is an image config: OCI's, with what Docker adds.
type Spec struct {
	v1.Image
	Config RunConfig `json:"config"`
}

// RunConfig is how to run a container of the image unless told otherwise.
type RunConfig struct {
	v1.ImageConfig
	Healthcheck *Healthcheck `json:"Healthcheck,omitempty"`
	Shell       []string     `json:"Shell,omitempty"`
	OnBuild     []string     `json:"OnBuild,omitempty"`
}

// Healthcheck is Docker's HEALTHCHECK. Durations are in nanoseconds, 0 for the default.
type Healthcheck struct {
	Test          []string `json:"Test,omitempty"`
	Interval      int64    `json:"Interval,omitempty"`
	Timeout       int64    `json:"Timeout,omitempty"`
	StartPeriod   int64    `json:"StartPeriod,omitempty"`
	StartInterval int64    `json:"StartInterval,omitempty"`
	Retries       int      `json:"Retries,omitempty"`
}

// ParseSpec reads an image config, for example api.Image.Config.
func ParseSpec(config []byte) (*Spec, error) {
	spec := &Spec{}
	if err := json.Unmarshal(config, spec); err != nil {
		return nil, fmt.Errorf("read image config: %w", err)
	}
	return spec, nil
}
