//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/proto/api"
)

// Create makes a volume; without a name it is anonymous and gets one of 64 hex digits. If the name is taken, and driver
// and options asked for are none or the same, the existing volume is the answer, otherwise ErrConflict. created says that
// it is new.
func (s *Store) Create(ctx context.Context, v *api.Volume) (vol *api.Volume, created bool, err error) {
	r, err := newRow(v)
	if err != nil {
		return nil, false, err
	}
	unlock, err := s.locks.Lock(ctx, r.Name)
	if err != nil {
		return nil, false, fmt.Errorf("create volume %s: %w", r.Name, err)
	}
	defer unlock()
	old, err := s.load(r.Name)
	switch {
	case err == nil && old.Half == "":
		if err := conflict(old, v); err != nil {
			return nil, false, fmt.Errorf("create volume %s: %w", r.Name, err)
		}
		return s.describe(ctx, old), false, nil
	case err == nil:
		err = s.finishHalf(ctx, old)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err == nil {
		err = s.make(ctx, r)
	}
	if err != nil {
		return nil, false, fmt.Errorf("create volume %s: %w", r.Name, err)
	}
	return s.describe(ctx, r), true, nil
}

// newRow checks what is asked for.
func newRow(v *api.Volume) (*row, error) {
	r := &row{
		Name: v.GetName(), Driver: v.GetDriver(), Created: time.Now().UTC(), Labels: v.GetLabels(), Options: v.GetOptions(),
		Anonymous: v.GetAnonymous(), MountID: id.NewHex(),
	}
	if r.Name == "" {
		r.Name, r.Anonymous = id.NewHex(), true
	}
	if r.Driver == "" {
		r.Driver = DriverLocal
	}
	return r, checkName(r.Name)
}

func conflict(old *row, v *api.Volume) error {
	if d := v.GetDriver(); d != "" && d != old.Driver {
		return fmt.Errorf("%w: its driver is %s, not %s: remove it first, or choose another name", ErrConflict, old.Driver, d)
	}
	if o := v.GetOptions(); len(o) > 0 && !maps.Equal(o, old.Options) {
		return fmt.Errorf("%w: %v: remove it first, or choose another name", ErrConflict, old.Options)
	}
	return nil
}

// make writes that the volume is being made, has the driver make it, and writes that it is there.
func (s *Store) make(ctx context.Context, r *row) error {
	d, err := s.driver(ctx, r.Driver)
	if err != nil {
		return err
	}
	if r.Scope, err = d.Scope(ctx); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, r.Name), 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	s.opts.FaultPoint("volume.directory")
	r.Half = making
	if err := writeJSON(s.rowFile(r.Name), r, false); err != nil {
		return err
	}
	s.opts.FaultPoint("volume.making")
	if err := d.Create(ctx, r.volume()); err != nil {
		return errors.Join(err, s.forget(r.Name))
	}
	s.opts.FaultPoint("volume.made")
	r.Half = ""
	if err := writeJSON(s.rowFile(r.Name), r, true); err != nil {
		return err
	}
	s.opts.FaultPoint("volume.row")
	return durable.Sync(s.dir)
}
