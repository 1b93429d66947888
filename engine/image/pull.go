//go:build linux

package image

import (
	"context"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// PullOptions say how to pull.
type PullOptions struct {
	Auth     *api.RegistryAuth // nil: what ~/.docker/config.json has for the registry
	Platform *api.Platform     // nil: the store's
	// Insecure allows HTTP and unverified TLS. Registries on a loopback address may speak HTTP in any case.
	Insecure bool
}

// ProgressFunc hears of a pull, load or import as it goes. Calls do not overlap; it should not block for long.
type ProgressFunc func(*api.ImageProgress)

// Docker's names for what OCI also has.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Pull fetches an image from its registry and unpacks it. Layers that are there already are not fetched again; a fetch
// that broke off, even with the daemon, is continued where it stopped.
func (s *Store) Pull(ctx context.Context, ref string, o PullOptions, report ProgressFunc) (*api.Image, error) {
	named, err := parseName(ref)
	if err != nil {
		return nil, err
	}
	p := &progress{report: report}
	r, names, err := s.pull(ctx, named, o, p)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", reference.FamiliarString(named), err)
	}
	img, err := s.finish(ctx, r, names, p)
	if err == nil {
		s.Notify("pull", reference.FamiliarString(named), reference.FamiliarName(named))
	}
	return img, err
}

func (s *Store) pull(ctx context.Context, named reference.Named, o PullOptions, p *progress) (*record, []string, error) {
	reg, err := s.connect(ctx, named, o)
	if err != nil {
		return nil, nil, err
	}
	p.say("", "Pulling from "+reference.FamiliarName(named), 0, 0)
	top, err := reg.manifest(ctx, reg.identifier(named))
	if err != nil {
		return nil, nil, err
	}
	manifest, err := reg.choose(ctx, top, s.platform(o.Platform))
	if err != nil {
		return nil, nil, err
	}
	hold := s.leases.open()
	defer hold.release()
	hold.begin = s.begin
	fetch := func(ctx context.Context, d v1.Descriptor) error { return s.fetch(ctx, reg, d, p) }
	r, err := s.assemble(ctx, manifest, fetch, hold, p)
	if err != nil {
		return nil, nil, err
	}
	names := []string{named.Name() + "@" + top.digest.String()}
	if _, ok := named.(reference.Digested); !ok {
		names = append(names, key(named))
	}
	return r, names, s.commit(r, names)
}

func (s *Store) platform(p *api.Platform) Platform {
	want := s.Platform
	if p.GetOs() != "" {
		want.OS = p.GetOs()
	}
	if p.GetArchitecture() != "" {
		want.Architecture = p.GetArchitecture()
	}
	return want
}

// blobFetcher brings a blob into the content store, if it is not there.
type blobFetcher func(ctx context.Context, d v1.Descriptor) error

// assemble brings in all that a manifest names, unpacks the layers and makes the record, which is not yet committed.
func (s *Store) assemble(ctx context.Context, m rawManifest, fetch blobFetcher, hold *lease, p *progress) (*record, error) {
	manifest, err := parseManifest(m)
	if err != nil {
		return nil, err
	}
	hold.hold(m.digest)
	if err := s.putBlob(ctx, m.digest, m.body); err != nil {
		return nil, err
	}
	hold.hold(manifest.Config.Digest)
	if err := fetch(ctx, manifest.Config); err != nil {
		return nil, err
	}
	r, err := s.newRecord(m, manifest)
	if err != nil {
		return nil, err
	}
	for _, l := range r.Layers {
		hold.hold(l.Blob)
		hold.hold(l.ChainID)
	}
	if hold.begin != nil {
		if err := hold.begin(r); err != nil {
			return nil, err
		}
	}
	ready := func(ctx context.Context, i int) error { return fetch(ctx, manifest.Layers[i]) }
	return r, s.unpackAll(ctx, r.Layers, ready, p)
}

// putBlob stores a small blob.
func (s *Store) putBlob(ctx context.Context, d digest.Digest, body []byte) error {
	in, err := s.Content.Resume(ctx, d)
	if err != nil || in == nil {
		return err
	}
	if err := in.Truncate(); err != nil {
		in.Abort()
		return err
	}
	if _, err := in.Write(body); err != nil {
		in.Abort()
		return fmt.Errorf("store blob: %w", err)
	}
	_, err = in.Commit()
	s.FaultPoint("image.blob")
	return err
}

// finish answers a pull, load or import.
func (s *Store) finish(ctx context.Context, r *record, names []string, p *progress) (*api.Image, error) {
	img, err := s.Get(ctx, r.ID.String())
	if err != nil {
		return nil, err
	}
	ref := ""
	for _, n := range slices.Backward(names) {
		if ref = familiar(n); !isDigestKey(n) {
			break
		}
	}
	p.last(img.Id, ref)
	return img, nil
}
