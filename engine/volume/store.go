//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/keyed"
	"github.com/shoal-dev/shoal/proto/api"
)

// Options are what a Store may need from its surroundings.
type Options struct {
	Find   Finder       // of drivers besides the local one; nil: there are none
	Boot   string       // tells one run of the machine from the next; "": the kernel's boot ID
	Logger *slog.Logger // nil: slog.Default
	// FaultPoint, if set, is called between any two steps, where a crash is tested.
	FaultPoint func(name string)
}

// Store keeps the volumes of a node. Its methods may be called concurrently, also for one volume; each leaves the old or
// the new state after a crash.
//
//	DIR/NAME/volume.json   row
//	DIR/NAME/users.json    for whom it is mounted
//	DIR/NAME/filling       there while CopyUp is at work: what is in the volume is not whole
//	DIR/NAME/_data         the local driver's: the files, or the mount point
type Store struct {
	dir   string
	opts  Options
	local *Local
	locks keyed.Mutex // by volume: a file server that does not answer holds up its own volumes and no others
}

// NewStore opens or makes the store's directory and removes what a crash left half done.
func NewStore(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FaultPoint == nil {
		o.FaultPoint = func(string) {}
	}
	if o.Find == nil {
		o.Find = func(_ context.Context, name string) (Driver, error) {
			return nil, fmt.Errorf("%w: %s: there is only %s", ErrNoDriver, name, DriverLocal)
		}
	}
	if o.Boot == "" {
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return nil, fmt.Errorf("open volumes: %w", err)
		}
		o.Boot = strings.TrimSpace(string(boot))
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("create volume directory: %w", err)
	}
	s := &Store{dir: dir, opts: o, local: NewLocal(dir)}
	if err := s.clean(ctx); err != nil {
		return nil, fmt.Errorf("clean volumes: %w", err)
	}
	return s, nil
}

// clean asks no plugin, none may be there yet: Reconcile does.
func (s *Store) clean(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if checkName(name) != nil || !e.IsDir() {
			continue // not a volume
		}
		s.removeUnfinished(name)
		r, err := s.load(name)
		switch {
		case errors.Is(err, ErrNotFound):
			s.removeEmpty(name)
		case err != nil: // List tells
		case r.Half != "" && r.Driver == DriverLocal:
			if err := s.finishHalf(ctx, r); err != nil {
				s.opts.Logger.Error("a volume that was half made or half removed is still there", "volume", name, "error", err)
			}
		default:
			if err := s.emptyHalfFilled(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeEmpty removes what a Create that was cut off before the row has left: nothing that holds anything.
func (s *Store) removeEmpty(name string) {
	dir := filepath.Join(s.dir, name)
	os.Remove(filepath.Join(dir, "_data"))
	os.Remove(dir)
}

// removeUnfinished removes files that were being written.
func (s *Store) removeUnfinished(name string) {
	unfinished, _ := filepath.Glob(filepath.Join(s.dir, name, unfinishedPrefix+"*"))
	for _, path := range unfinished {
		os.Remove(path)
	}
}

// row is a volume on disk.
type row struct {
	Name      string            `json:"name"`
	Driver    string            `json:"driver"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"`
	Scope     string            `json:"scope,omitempty"`
	MountID   string            `json:"mount_id"`
	// Half is set before the driver makes or removes the volume. Nobody sees such a volume; see finishHalf.
	Half half `json:"half,omitempty"`
}

type half string

const (
	making   half = "making"
	removing half = "removing"
)

func (r *row) volume() Volume { return Volume{Name: r.Name, Options: r.Options, MountID: r.MountID} }

func (s *Store) rowFile(name string) string { return filepath.Join(s.dir, name, "volume.json") }

// driver gives the driver of a row.
func (s *Store) driver(ctx context.Context, name string) (Driver, error) {
	if name == DriverLocal {
		return s.local, nil
	}
	return s.opts.Find(ctx, name)
}

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
	return syncDir(s.dir)
}

// load reads a row, also one that is half.
func (s *Store) load(name string) (*row, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	r := &row{}
	err := readJSON(s.rowFile(name), r)
	if st, e := os.Stat(s.rowFile(name)); e == nil && st.Size() == 0 {
		err = fs.ErrNotExist // a power cut while it was made: it is synced before anybody hears of the volume
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	if r.Driver == "" { // written before there were others
		r.Driver = DriverLocal
	}
	return r, nil
}

// read reads a volume that is whole.
func (s *Store) read(name string) (*row, error) {
	r, err := s.load(name)
	if err == nil && r.Half != "" {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return r, err
}

// describe asks no plugin: a list must not wait for one.
func (s *Store) describe(ctx context.Context, r *row) *api.Volume {
	v := &api.Volume{
		Name: r.Name, Driver: r.Driver, CreatedAt: timestamppb.New(r.Created), Labels: r.Labels, Options: r.Options,
		Anonymous: r.Anonymous, Scope: r.Scope,
	}
	if r.Driver == DriverLocal {
		v.Mountpoint, _ = s.local.Path(ctx, r.volume())
	} else {
		v.Mountpoint = s.mounted(r.Name).Path
	}
	return v
}

// Get returns ErrNotFound for a volume that is not there.
func (s *Store) Get(ctx context.Context, name string) (*api.Volume, error) {
	r, err := s.read(name)
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, r), nil
}

// List is sorted by name.
func (s *Store) List(ctx context.Context) ([]*api.Volume, error) {
	rows, err := s.rows()
	if err != nil {
		return nil, err
	}
	var vols []*api.Volume
	for _, r := range rows {
		if r.Half == "" {
			vols = append(vols, s.describe(ctx, r))
		}
	}
	return vols, nil
}

// rows reads without locks: a row is replaced in one step. One that cannot be read does not hide the others.
func (s *Store) rows() ([]*row, error) {
	entries, err := os.ReadDir(s.dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var rows []*row
	for _, e := range entries {
		if checkName(e.Name()) != nil || !e.IsDir() {
			continue // not a volume
		}
		r, err := s.load(e.Name())
		switch {
		case err == nil:
			rows = append(rows, r)
		case !errors.Is(err, ErrNotFound): // removed meanwhile, or somebody else's directory
			s.opts.Logger.Error("a volume's description cannot be read", "volume", e.Name(), "error", err)
		}
	}
	return rows, nil
}
