//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// mountState is for whom a volume is mounted, in users.json. It is written before the driver mounts and after it has
// unmounted, so that a crash cannot forget a mount. What another run of the machine wrote says nothing.
type mountState struct {
	Boot    string   `json:"boot"`
	Mounted bool     `json:"mounted"` // or perhaps, after a crash
	Path    string   `json:"path"`
	Users   []string `json:"users"`
}

func (s *Store) usersFile(name string) string { return filepath.Join(s.dir, name, "users.json") }

// mounted reads the state. It is not synced to disk, since a reboot makes it void: one that cannot be read is of another boot.
func (s *Store) mounted(name string) mountState {
	st := mountState{}
	if readJSON(s.usersFile(name), &st) != nil || st.Boot != s.opts.Boot {
		return mountState{Boot: s.opts.Boot}
	}
	return st
}

func (s *Store) saveMounted(name string, st mountState) error {
	if err := writeJSON(s.usersFile(name), st, false); err != nil {
		return fmt.Errorf("write users of volume %s: %w", name, err)
	}
	return nil
}

// Mount makes the files of a volume available for user (a container's ID) and returns their path. A second call for one
// user counts once. Users are remembered across restarts of the daemon.
func (s *Store) Mount(ctx context.Context, name, user string) (string, error) {
	unlock, err := s.locks.Lock(ctx, name)
	if err != nil {
		return "", fmt.Errorf("mount volume %s: %w", name, err)
	}
	defer unlock()
	r, err := s.read(name)
	if err != nil {
		return "", err
	}
	d, err := s.driver(ctx, r.Driver)
	if err != nil {
		return "", fmt.Errorf("mount volume %s: %w", name, err)
	}
	path, err := s.mountFor(ctx, d, r, user)
	if err != nil {
		return "", fmt.Errorf("mount volume %s: %w", name, err)
	}
	return path, nil
}

func (s *Store) mountFor(ctx context.Context, d Driver, r *row, user string) (string, error) {
	before := s.mounted(r.Name)
	st := before
	if !slices.Contains(st.Users, user) {
		st.Users = append(slices.Clone(st.Users), user)
	}
	there := false
	if before.Mounted {
		var err error
		if there, err = d.Mounted(ctx, r.volume()); err != nil {
			return "", err
		}
	}
	if there && before.Path != "" {
		return st.Path, s.saveMounted(r.Name, st)
	}
	st.Mounted = true
	if err := s.saveMounted(r.Name, st); err != nil {
		return "", err
	}
	s.opts.FaultPoint("volume.mounting")
	var err error
	if st.Path, err = d.Mount(ctx, r.volume()); err != nil {
		return "", errors.Join(err, s.saveMounted(r.Name, before))
	}
	s.opts.FaultPoint("volume.mounted")
	return st.Path, s.saveMounted(r.Name, st)
}

// Adopt makes user, a container that runs, one of a local volume that is mounted: the first daemons mounted a volume for as long as
// it was there, and did not remember for whom. Otherwise it is a user already, and nothing happens.
func (s *Store) Adopt(ctx context.Context, name, user string) error {
	unlock, err := s.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("adopt volume %s: %w", name, err)
	}
	defer unlock()
	r, err := s.read(name)
	if err != nil {
		return fmt.Errorf("adopt volume: %w", err)
	}
	st := s.mounted(name)
	if r.Driver != DriverLocal || len(r.Options) == 0 || slices.Contains(st.Users, user) {
		return nil
	}
	there, err := s.local.Mounted(ctx, r.volume())
	if err != nil || !there {
		return err
	}
	st.Mounted, st.Path, st.Users = true, s.local.data(name), append(slices.Clone(st.Users), user)
	return s.saveMounted(name, st)
}

// Unmount ends what Mount began; with the last user the files may become unavailable. An unknown user or volume is no
// error. When the driver fails the user is gone all the same, and Reconcile tries again.
func (s *Store) Unmount(ctx context.Context, name, user string) error {
	return s.keep(ctx, name, func(u string) bool { return u != user })
}

// keep forgets the users that are not wanted, and unmounts the volume if that leaves none.
func (s *Store) keep(ctx context.Context, name string, wanted func(user string) bool) error {
	unlock, err := s.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("unmount volume %s: %w", name, err)
	}
	defer unlock()
	r, err := s.read(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	st := s.mounted(name)
	had := len(st.Users)
	st.Users = slices.DeleteFunc(st.Users, func(u string) bool { return !wanted(u) })
	if len(st.Users) != had {
		if err := s.saveMounted(name, st); err != nil {
			return err
		}
	}
	if len(st.Users) > 0 || !st.Mounted {
		return nil
	}
	d, err := s.driver(ctx, r.Driver)
	if err == nil {
		err = s.unmountUnused(ctx, d, r)
	}
	if err != nil {
		return fmt.Errorf("unmount volume %s: %w", name, err)
	}
	return nil
}

// unmountUnused undoes the mount of a volume without users.
func (s *Store) unmountUnused(ctx context.Context, d Driver, r *row) error {
	if !s.mounted(r.Name).Mounted {
		return nil
	}
	if err := d.Unmount(ctx, r.volume()); err != nil {
		return err
	}
	return s.saveMounted(r.Name, mountState{Boot: s.opts.Boot})
}

// Reconcile forgets users that alive does not know, unmounts what has no users, and removes what is half made or half
// removed: after a restart, and when a driver did not answer.
func (s *Store) Reconcile(ctx context.Context, alive func(user string) bool) error {
	rows, err := s.rows()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range rows {
		if r.Half != "" {
			errs = append(errs, s.reconcileHalf(ctx, r.Name))
		} else {
			errs = append(errs, s.keep(ctx, r.Name, alive))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) reconcileHalf(ctx context.Context, name string) error {
	unlock, err := s.locks.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.load(name)
	if errors.Is(err, ErrNotFound) || err == nil && r.Half == "" {
		return nil // finished meanwhile
	}
	if err == nil {
		err = s.finishHalf(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("remove what is left of volume %s: %w", name, err)
	}
	return nil
}
