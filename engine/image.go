//go:build linux

package engine

import (
	"context"
	"errors"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/proto/api"
)

// Image is what a container keeps of the image that it was made from.
type Image struct {
	ID      string // sha256:... of the config
	Name    string // as it was asked for
	ChainID string // key of the committed snapshot of its top layer; "" for an image without layers
	Config  ocispec.ImageConfig
	Health  *api.HealthConfig
}

// resolve finds an image by name, digest or unique beginning of an ID.
func (e *Engine) resolve(ctx context.Context, ref string) (*Image, error) {
	if ref == "" {
		return nil, errorf(ErrInvalid, "no image named")
	}
	img, err := e.cfg.Images.Get(ctx, ref)
	if errors.Is(err, image.ErrNotFound) {
		return nil, errorf(ErrNotFound, "no such image: %s: pull, load or import it first", ref)
	}
	if err != nil {
		return nil, err
	}
	parsed, err := image.ParseSpec(img.Config)
	if err != nil {
		return nil, err
	}
	chain, err := e.cfg.Images.ChainID(img)
	if err != nil {
		return nil, err
	}
	return &Image{ID: img.Id, Name: ref, ChainID: chain, Config: parsed.Config.ImageConfig, Health: imageHealth(parsed.Config.Healthcheck)}, nil
}

// imageHealth is the image's own check: OCI's format has none, Docker's adds it.
func imageHealth(h *image.Healthcheck) *api.HealthConfig {
	if h == nil {
		return nil
	}
	d := func(nanos int64) *durationpb.Duration { return durationpb.New(time.Duration(nanos)) }
	return &api.HealthConfig{
		Test: h.Test, Interval: d(h.Interval), Timeout: d(h.Timeout), StartPeriod: d(h.StartPeriod),
		StartInterval: d(h.StartInterval), Retries: int32(h.Retries),
	}
}

// HasImage says whether an image is on this node.
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	_, err := e.cfg.Images.Get(ctx, ref)
	if errors.Is(err, image.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// PullImage fetches an image from its registry, with the credentials that this host has.
func (e *Engine) PullImage(ctx context.Context, ref string) error {
	_, err := e.cfg.Images.Pull(ctx, ref, image.PullOptions{}, nil)
	return err
}

// imageUsers names the containers made from an image.
func (e *Engine) imageUsers(imageID string) []string {
	var out []string
	for _, c := range e.withMaking() {
		if row := c.get(); row.ImageId == imageID {
			out = append(out, row.Name)
		}
	}
	return out
}
