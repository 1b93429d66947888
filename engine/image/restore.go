//go:build linux

package image

import (
	"context"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/shoal-dev/shoal/proto/api"
)

// Restore unpacks those layers of an image again that are not there any more: what is unpacked follows from blobs, and a damaged
// disk need not cost an image.
func (s *Store) Restore(ctx context.Context, id string) error {
	r := &record{}
	err := s.db.View(func(tx *bolt.Tx) error {
		ok, err := getJSON(tx, imagesBucket, id, r)
		if err == nil && !ok {
			err = ErrNotFound
		}
		return err
	})
	if err == nil {
		there := func(context.Context, int) error { return nil }
		err = s.unpackAll(ctx, r.Layers, there, &progress{report: func(*api.ImageProgress) {}})
	}
	if err != nil {
		return fmt.Errorf("unpack image %s again: %w", id, err)
	}
	return nil
}
