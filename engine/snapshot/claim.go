//go:build linux

package snapshot

import (
	"context"
)

// claim waits until nobody else makes key. It returns false if the snapshot exists; otherwise release must follow.
func (d *disk) claim(ctx context.Context, key string) (release func(), mine bool, err error) {
	for {
		d.mu.Lock()
		if d.byKey[key] != nil {
			d.mu.Unlock()
			return nil, false, nil
		}
		busy := d.building[key]
		if busy == nil {
			done := make(chan struct{})
			d.building[key] = done
			d.mu.Unlock()
			return func() { d.release(key, done) }, true, nil
		}
		d.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func (d *disk) release(key string, done chan struct{}) {
	d.mu.Lock()
	delete(d.building, key)
	d.mu.Unlock()
	close(done)
}
