//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Remove deletes a volume and all in it. A volume with users is refused with ErrInUse even with force; an unknown one with
// ErrNotFound unless force is set. Force also forgets a volume whose driver is not there any more.
//
// inUse names the containers that have the volume, running or not. It is asked while the volume is locked: a container
// that is counted before it creates its volumes either is seen here, or makes the volume anew.
func (s *Store) Remove(ctx context.Context, name string, force bool, inUse func() []string) error {
	unlock, err := s.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	defer unlock()
	r, err := s.read(name)
	if force && errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.unused(name, inUse); err != nil {
		return err
	}
	if err := s.remove(ctx, r, force); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

func (s *Store) unused(name string, inUse func() []string) error {
	var users []string
	if inUse != nil {
		users = inUse()
	}
	if len(users) == 0 {
		users = s.mounted(name).Users
	}
	if len(users) == 0 {
		return nil
	}
	slices.Sort(users)
	return fmt.Errorf("%w: %s is used by container %s: remove that first", ErrInUse, name, strings.Join(slices.Compact(users), ", "))
}

func (s *Store) remove(ctx context.Context, r *row, force bool) error {
	d, err := s.driver(ctx, r.Driver)
	if force && errors.Is(err, ErrNoDriver) {
		return s.forget(r.Name)
	}
	if err != nil {
		return err
	}
	if err := s.unmountUnused(ctx, d, r); err != nil {
		return err
	}
	if c, ok := d.(checker); ok { // before anything is undone
		if err := c.removable(r.volume()); err != nil {
			return err
		}
	}
	r.Half = removing
	if err := writeJSON(s.rowFile(r.Name), r, true); err != nil {
		return err
	}
	s.opts.FaultPoint("volume.removing")
	if err := s.finishRemoval(ctx, d, r); err != nil {
		r.Half = "" // what is left of it can be seen, and its removal asked for again
		return errors.Join(err, writeJSON(s.rowFile(r.Name), r, true))
	}
	return nil
}

// checker is a driver that can refuse a removal early.
type checker interface{ removable(Volume) error }

func (s *Store) finishRemoval(ctx context.Context, d Driver, r *row) error {
	if err := d.Remove(ctx, r.volume()); err != nil {
		return err
	}
	s.opts.FaultPoint("volume.removed")
	return s.forget(r.Name)
}

// finishHalf finishes what a crash has cut off: a removal goes on, and of a creation nothing is left. What was being made
// under a name may be somebody else's, though, another node's for example, and taken over here: it is forgotten, not
// removed.
func (s *Store) finishHalf(ctx context.Context, r *row) error {
	if r.Half == making && !r.Anonymous {
		err := s.forget(r.Name)
		if !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		r.Half = "" // a directory with files was there before: it is the volume
		return writeJSON(s.rowFile(r.Name), r, true)
	}
	d, err := s.driver(ctx, r.Driver)
	if err != nil {
		return err
	}
	return s.finishRemoval(ctx, d, r)
}

// forget deletes the row last, so that a crash before it leaves something to go on from.
func (s *Store) forget(name string) error {
	dir := filepath.Join(s.dir, name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "_data" && e.Name() != "volume.json" {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(filepath.Join(dir, "_data")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Remove(s.rowFile(name)); err != nil {
		return err
	}
	s.opts.FaultPoint("volume.forgotten")
	return os.Remove(dir)
}
