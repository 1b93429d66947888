//go:build linux

package snapshot

import (
	"context"
	"fmt"
	"slices"
)

// chain returns the numbers of key and its ancestors, nearest first.
func (d *disk) chain(key string) ([]int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ns []int
	for key != "" {
		e := d.byKey[key]
		if e == nil {
			return nil, fmt.Errorf("snapshot %s: %w", key, ErrNotFound)
		}
		ns = append(ns, e.n)
		key = e.Parent
	}
	return ns, nil
}

// active returns an active snapshot.
func (d *disk) active(key string) (*entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byKey[key]
	if e == nil {
		return nil, fmt.Errorf("snapshot %s: %w", key, ErrNotFound)
	}
	if !e.Active {
		return nil, fmt.Errorf("snapshot %s is an image layer, it cannot be mounted for writing", key)
	}
	return e, nil
}

// Stat implements Snapshotter.
func (d *disk) Stat(_ context.Context, key string) (Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byKey[key]
	if e == nil {
		return Info{}, fmt.Errorf("snapshot %s: %w", key, ErrNotFound)
	}
	return e.Info, nil
}

// List implements Snapshotter. The order is that of creation.
func (d *disk) List(context.Context) ([]Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	es := make([]*entry, 0, len(d.byKey))
	for _, e := range d.byKey {
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b *entry) int { return a.n - b.n })
	infos := make([]Info, len(es))
	for i, e := range es {
		infos[i] = e.Info
	}
	return infos, nil
}
