//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-dev/shoal/engine/snapshot"
)

// abandoned is how long the beginning of a blob is kept for somebody to continue.
const abandoned = 24 * time.Hour

// leases protect blobs and layers that no image refers to yet from the sweep.
type leases struct {
	mu   sync.Mutex
	held map[string]int
}

// lease is what one pull, load or import holds on to. It may be used by several goroutines.
type lease struct {
	of   *leases
	keys []string // guarded by of.mu
	// begin, if set, is told what is going to be fetched, so that it is kept for a later attempt.
	begin func(*record) error
}

func (l *leases) open() *lease { return &lease{of: l} }

// hold must come before looking whether something is there.
func (l *lease) hold(d digest.Digest) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.of.held[string(d)]++
	l.keys = append(l.keys, string(d))
}

func (l *lease) release() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	for _, k := range l.keys {
		if l.of.held[k]--; l.of.held[k] == 0 {
			delete(l.of.held, k)
		}
	}
	l.keys = nil
}

// unheld calls remove if nobody holds d, and lets nobody take hold of it meanwhile.
func (l *leases) unheld(d string, remove func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[d] > 0 {
		return nil
	}
	return remove()
}

// Recover removes what a daemon that died has left: what is not part of an image, or of a pull that can go on. Call it before
// anything is under way.
func (s *Store) Recover(ctx context.Context) error {
	pulls, err := s.pulls()
	if err != nil {
		return err
	}
	blobs, chains := map[digest.Digest]bool{}, map[string]bool{}
	for _, r := range pulls {
		r.keep(blobs, chains)
	}
	return errors.Join(s.Content.DropIngests(blobs), s.Collect(ctx))
}

// Collect removes what no image refers to and what broken fetches left long ago. Call it now and then; Remove does it by itself.
func (s *Store) Collect(ctx context.Context) error {
	if err := s.Content.CleanIngests(abandoned); err != nil {
		return err
	}
	_, err := s.collect(ctx)
	return err
}

// sweepAfter removes what came in and belongs to no image, also when it was the caller who gave up, or a full disk that ended it.
func (s *Store) sweepAfter(ctx context.Context, what string) {
	if _, err := s.collect(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("sweep blobs and layers of no image", "after", what, "error", err)
	}
}

// collect marks what the images need and sweeps the rest. It returns the chain IDs of the layers that went.
func (s *Store) collect(ctx context.Context) ([]string, error) {
	s.gc.Lock()
	defer s.gc.Unlock()
	c, err := s.catalog()
	if err != nil {
		return nil, err
	}
	pulls, err := s.pulls()
	if err != nil {
		return nil, err
	}
	blobs, chains := map[digest.Digest]bool{}, map[string]bool{}
	for _, r := range append(slices.Collect(maps.Values(c.images)), pulls...) {
		r.keep(blobs, chains)
	}
	swept, err := s.sweepLayers(ctx, chains)
	return swept, errors.Join(err, s.sweepBlobs(blobs))
}

func (s *Store) sweepBlobs(keep map[digest.Digest]bool) error {
	var errs []error
	err := s.Content.Walk(func(d digest.Digest, _ int64) error {
		if !keep[d] {
			errs = append(errs, s.leases.unheld(d.String(), func() error { return s.Content.Delete(d) }))
			s.FaultPoint("image.blob.removed")
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

// sweepLayers removes committed snapshots, the youngest first since older ones cannot build on them.
func (s *Store) sweepLayers(ctx context.Context, keep map[string]bool) ([]string, error) {
	infos, err := s.Snapshots.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("sweep layers: %w", err)
	}
	var swept []string
	var errs []error
	for i := len(infos) - 1; i >= 0; i-- {
		k := infos[i].Key
		if infos[i].Active || keep[k] || !strings.HasPrefix(k, "sha256:") {
			continue
		}
		err := s.leases.unheld(k, func() error {
			if err := s.Snapshots.Remove(ctx, k); err != nil {
				return err
			}
			swept = append(swept, k)
			s.FaultPoint("image.layer.removed")
			return nil
		})
		if err != nil && !errors.Is(err, snapshot.ErrInUse) { // in use: a container stands on it
			errs = append(errs, err)
		}
	}
	return swept, errors.Join(append(errs, s.dropSizes(ctx))...)
}
