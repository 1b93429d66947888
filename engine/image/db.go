//go:build linux

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// images.db is a bbolt file with these buckets:
//
//	names   docker.io/library/web:latest       -> image ID
//	        docker.io/library/web@sha256:HEX   -> image ID (as pulled: the digest may be an index's)
//	images  sha256:HEX (image ID)              -> record, JSON
//	layers  sha256:HEX (chain ID)              -> size of the unpacked layer, JSON number
//	pulls   sha256:HEX (manifest)              -> begun, JSON
//
// A layer is in the bucket before its snapshot is made; an image once all its blobs and layers are there; a pull until then.
const (
	namesBucket  = "names"
	imagesBucket = "images"
	layersBucket = "layers"
	pullsBucket  = "pulls"
)

func openDB(path string) (*bolt.DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 2 * time.Second})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is locked: another daemon uses this data directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range []string{namesBucket, imagesBucket, layersBucket, pullsBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", path, err), db.Close())
	}
	return db, nil
}

func putJSON(tx *bolt.Tx, bucket, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucket)).Put([]byte(key), b)
}

// getJSON returns false if there is no such key.
func getJSON(tx *bolt.Tx, bucket, key string, v any) (bool, error) {
	b := tx.Bucket([]byte(bucket)).Get([]byte(key))
	if b == nil {
		return false, nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("image database: %s %s: %w", bucket, key, err)
	}
	return true, nil
}

// catalog is a consistent view of names and images.
type catalog struct {
	names  map[string]digest.Digest
	images map[digest.Digest]*record
}

// catalog reads all: a node has hundreds of images, not millions.
func (s *Store) catalog() (*catalog, error) {
	c := &catalog{names: map[string]digest.Digest{}, images: map[digest.Digest]*record{}}
	err := s.db.View(func(tx *bolt.Tx) error {
		err := tx.Bucket([]byte(namesBucket)).ForEach(func(k, v []byte) error {
			c.names[string(k)] = digest.Digest(v)
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket([]byte(imagesBucket)).ForEach(func(k, v []byte) error {
			r := &record{}
			if err := json.Unmarshal(v, r); err != nil {
				return fmt.Errorf("image database: image %s: %w", k, err)
			}
			c.images[r.ID] = r
			return nil
		})
	})
	return c, err
}

// namesOf returns an image's names, sorted.
func (c *catalog) namesOf(id digest.Digest) []string {
	var names []string
	for name, to := range c.names {
		if to == id {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// commit records an image and points names at it, in one transaction.
func (s *Store) commit(r *record, names []string) error {
	s.gc.RLock()
	defer s.gc.RUnlock()
	s.FaultPoint("image.whole")
	defer s.FaultPoint("image.committed")
	err := s.db.Update(func(tx *bolt.Tx) error {
		if err := putJSON(tx, imagesBucket, r.ID.String(), r); err != nil {
			return err
		}
		if err := tx.Bucket([]byte(pullsBucket)).Delete([]byte(r.Manifest)); err != nil {
			return err
		}
		for _, name := range names {
			if err := tx.Bucket([]byte(namesBucket)).Put([]byte(name), []byte(r.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record image %s: %w", r.ID, err)
	}
	return nil
}

// layerSize returns the size of an unpacked layer, false if it has not been recorded.
func (s *Store) layerSize(chain digest.Digest) (size int64, ok bool, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		ok, err = getJSON(tx, layersBucket, chain.String(), &size)
		return err
	})
	return size, ok, err
}

func (s *Store) putLayerSize(chain digest.Digest, size int64) error {
	return s.db.Batch(func(tx *bolt.Tx) error { return putJSON(tx, layersBucket, chain.String(), size) })
}
