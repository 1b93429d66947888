//go:build linux

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"

	"github.com/shoal-dev/shoal/engine/snapshot"
)

// begun is a pull on its way. What it has fetched is kept when it fails, or when the daemon dies, so that the next one goes on
// where it stopped.
type begun struct {
	Since time.Time
	Image record // what it will be
}

// begin writes a pull down.
func (s *Store) begin(r *record) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		return putJSON(tx, pullsBucket, r.Manifest.String(), begun{Since: time.Now(), Image: *r})
	})
	if err != nil {
		return fmt.Errorf("record pull of %s: %w", r.ID, err)
	}
	s.FaultPoint("image.begun")
	return nil
}

// pulls are what pulls have begun lately. Those that nobody went on with are forgotten.
func (s *Store) pulls() ([]*record, error) {
	var out []*record
	var old []string
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(pullsBucket)).ForEach(func(k, v []byte) error {
			var b begun
			if err := json.Unmarshal(v, &b); err != nil || time.Since(b.Since) > abandoned {
				old = append(old, string(k))
			} else {
				out = append(out, &b.Image)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return out, s.drop(pullsBucket, old...)
}

// drop deletes keys from a bucket.
func (s *Store) drop(bucket string, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		for _, k := range keys {
			if err := tx.Bucket([]byte(bucket)).Delete([]byte(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropSizes forgets the sizes of layers that are not there: the daemon died between the size and the layer, or while it removed
// the layer.
func (s *Store) dropSizes(ctx context.Context) error {
	var all []string
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(layersBucket)).ForEach(func(k, _ []byte) error {
			all = append(all, string(k))
			return nil
		})
	})
	for _, k := range all {
		err = errors.Join(err, s.leases.unheld(k, func() error {
			if _, err := s.Snapshots.Stat(ctx, k); !errors.Is(err, snapshot.ErrNotFound) {
				return err
			}
			return s.drop(layersBucket, k)
		}))
	}
	return err
}

// keep marks what belongs to an image.
func (r *record) keep(blobs map[digest.Digest]bool, chains map[string]bool) {
	blobs[r.ID], blobs[r.Manifest] = true, true
	for _, l := range r.Layers {
		blobs[l.Blob], chains[l.ChainID.String()] = true, true
	}
}
