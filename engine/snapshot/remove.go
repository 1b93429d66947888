//go:build linux

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/engine/fstree"
)

// Remove implements Snapshotter.
func (d *disk) Remove(_ context.Context, key string) error {
	doomed, err := d.unpublish(key)
	if err != nil || doomed == "" {
		return err
	}
	if err := fstree.RemoveAll(doomed); err != nil {
		return fmt.Errorf("remove snapshot %s: %w", key, err)
	}
	return nil
}

// unpublish takes the snapshot away in one step and says where its remains are.
func (d *disk) unpublish(key string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byKey[key]
	if e == nil {
		return "", nil
	}
	if e.children > 0 {
		return "", fmt.Errorf("remove snapshot %s: %w by %d others", key, ErrInUse, e.children)
	}
	doomed := filepath.Join(d.tmp(), "old-"+strconv.Itoa(e.n))
	if err := os.Rename(d.path(e.n), doomed); err != nil {
		return "", fmt.Errorf("remove snapshot %s: %w", key, err)
	}
	delete(d.byKey, key)
	if p := d.byKey[e.Parent]; p != nil {
		p.children--
	}
	return doomed, nil
}

// Cleanup implements Snapshotter. It leaves alone what is being made right now.
func (d *disk) Cleanup(context.Context) error {
	d.mu.Lock()
	busy := len(d.building) > 0
	d.mu.Unlock()
	entries, err := os.ReadDir(d.tmp())
	if err != nil {
		return fmt.Errorf("clean snapshots: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if busy && strings.HasPrefix(e.Name(), "new-") {
			continue
		}
		if err := fstree.RemoveAll(filepath.Join(d.tmp(), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("clean snapshots: %w", err))
		}
	}
	return errors.Join(errs...)
}
