//go:build linux

package image

import (
	"encoding/json"

	bolt "go.etcd.io/bbolt"
)

// LayerBytes is what all unpacked layers take, each counted once.
func (s *Store) LayerBytes() (total int64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(layersBucket)).ForEach(func(_, v []byte) error {
			var size int64
			err := json.Unmarshal(v, &size)
			total += size
			return err
		})
	})
	return total, err
}
