//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/durable"
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
	if err := closedDir(dir); err != nil {
		return nil, fmt.Errorf("create volume directory: %w", err)
	}
	s := &Store{dir: dir, opts: o, local: NewLocal(dir)}
	if err := s.clean(ctx); err != nil {
		return nil, fmt.Errorf("clean volumes: %w", err)
	}
	return s, nil
}

// closedDir is entered by root and its group alone, whoever made it: in volumes are programs that run as root whoever starts them,
// and a user of the host who reached one would be root (CVE-2021-41091).
func closedDir(dir string) error {
	if err := os.MkdirAll(dir, 0o710); err != nil {
		return err
	}
	return os.Chmod(dir, 0o710)
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
	for _, pattern := range []string{unfinishedPrefix + "*", "*" + durable.UnfinishedExt} {
		unfinished, _ := filepath.Glob(filepath.Join(s.dir, name, pattern))
		for _, path := range unfinished {
			os.Remove(path)
		}
	}
}

// driver gives the driver of a row.
func (s *Store) driver(ctx context.Context, name string) (Driver, error) {
	if name == DriverLocal {
		return s.local, nil
	}
	return s.opts.Find(ctx, name)
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
