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

// UniqueBytes maps the IDs of images to what their layers take that no other image has.
func (s *Store) UniqueBytes() (map[string]int64, error) {
	c, err := s.catalog()
	if err != nil {
		return nil, err
	}
	users := map[string]int{}
	for _, r := range c.images {
		for _, l := range r.Layers {
			users[l.ChainID.String()]++
		}
	}
	out := map[string]int64{}
	for _, r := range c.images {
		for _, l := range r.Layers {
			if users[l.ChainID.String()] == 1 {
				out[r.ID.String()] += l.Size
			}
		}
	}
	return out, nil
}
