//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shoal-dev/shoal/engine/fstree"
)

func (s *Store) filling(name string) string { return filepath.Join(s.dir, name, "filling") }

// CopyUp fills an empty volume that is mounted with what the image has in the directory from: with owners, modes, links,
// times and extended attributes, the directory's own included. No link is followed. A crash in between leaves a plain
// local volume empty. One that is mounted from elsewhere keeps what has arrived, since others may use it by then.
func (s *Store) CopyUp(ctx context.Context, name, from string) error {
	unlock, err := s.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("fill volume %s: %w", name, err)
	}
	defer unlock()
	r, err := s.read(name)
	if err != nil {
		return err
	}
	st := s.mounted(name)
	if !st.Mounted {
		return fmt.Errorf("fill volume %s: it is not mounted", name)
	}
	if entries, err := os.ReadDir(st.Path); err != nil || len(entries) > 0 {
		return err // filled meanwhile
	}
	if err := s.fill(ctx, r, from, st.Path); err != nil {
		return fmt.Errorf("fill volume %s: %w", name, err)
	}
	return nil
}

func (s *Store) fill(ctx context.Context, r *row, from, to string) error {
	if !plain(r) {
		return fstree.Copy(ctx, from, to)
	}
	if err := os.WriteFile(s.filling(r.Name), nil, 0o600); err != nil {
		return err
	}
	if err := fstree.Copy(ctx, from, to); err != nil {
		return errors.Join(err, s.emptyHalfFilled(r))
	}
	return os.Remove(s.filling(r.Name))
}

// plain says that a volume is a directory of this node and nothing else.
func plain(r *row) bool { return r.Driver == DriverLocal && len(r.Options) == 0 }

// emptyHalfFilled removes what a broken CopyUp left.
func (s *Store) emptyHalfFilled(r *row) error {
	if _, err := os.Stat(s.filling(r.Name)); err != nil || !plain(r) {
		return nil
	}
	data := s.local.data(r.Name)
	if inner, err := mountedBelow(data); err != nil || len(inner) > 0 {
		return err // somebody uses it by now
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fstree.RemoveAll(filepath.Join(data, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(s.filling(r.Name))
}
