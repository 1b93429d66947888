//go:build linux

package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/keyed"
	"github.com/shoal-dev/shoal/proto/api"
)

// Options are what a Local driver may need from its surroundings.
type Options struct {
	InUse  func(name string) []string // names of containers that have the volume; nil: only Mount's users count
	Logger *slog.Logger               // nil: slog.Default
}

// Local keeps volumes in directories of this node, or mounts at them what their options say.
//
//	DIR/NAME/volume.json   row
//	DIR/NAME/_data         the files, or the mount point
//	DIR/NAME/users.json    who has it mounted
//	DIR/NAME/filling       there while CopyUp is at work: what is in _data is not whole
//	DIR/.new-*, .old-*     being made, being removed
type Local struct {
	dir   string
	opts  Options
	locks keyed.Mutex // by volume: a file server that does not answer holds up its own volumes and no others
}

var _ Driver = (*Local)(nil)

// row is a volume on disk.
type row struct {
	Name      string            `json:"name"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"`
}

// NewLocal opens or makes the driver's directory and removes what a crash left half done.
func NewLocal(dir string, o Options) (*Local, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.InUse == nil {
		o.InUse = func(string) []string { return nil }
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("create volume directory: %w", err)
	}
	l := &Local{dir: dir, opts: o}
	if err := l.clean(); err != nil {
		return nil, fmt.Errorf("clean volumes: %w", err)
	}
	return l, nil
}

func (l *Local) clean() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".new-") || strings.HasPrefix(e.Name(), ".old-") {
			if err := l.deleteTree(filepath.Join(l.dir, e.Name())); err != nil {
				return err
			}
			continue
		}
		if _, err := os.Stat(l.filling(e.Name())); err == nil {
			if err := l.empty(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Local) data(name string) string    { return filepath.Join(l.dir, name, "_data") }
func (l *Local) filling(name string) string { return filepath.Join(l.dir, name, "filling") }

// Create implements Driver.
func (l *Local) Create(ctx context.Context, v *api.Volume) (*api.Volume, error) {
	r, _, unlock, err := l.create(ctx, v)
	defer unlock()
	if err != nil {
		return nil, err
	}
	return l.describe(r), nil
}

// Ensure returns the volume ready for use, made and mounted if need be; created says that it is new. The mount has no
// user: it stays until the volume is removed or its last user unmounts it.
func (l *Local) Ensure(ctx context.Context, v *api.Volume) (vol *api.Volume, created bool, err error) {
	r, created, unlock, err := l.create(ctx, v)
	defer unlock()
	if err != nil {
		return nil, false, err
	}
	if err := l.mount(r); err != nil {
		return nil, created, err
	}
	return l.describe(r), created, nil
}

// create makes a volume or finds it, and leaves it locked; unlock is never nil.
func (l *Local) create(ctx context.Context, v *api.Volume) (r *row, created bool, unlock func(), err error) {
	r, err = newRow(v)
	if err != nil {
		return nil, false, func() {}, err
	}
	unlock, err = l.locks.Lock(ctx, r.Name)
	if err != nil {
		return nil, false, func() {}, fmt.Errorf("create volume %s: %w", r.Name, err)
	}
	old, err := l.read(r.Name)
	switch {
	case err == nil && len(r.Options) > 0 && !maps.Equal(r.Options, old.Options):
		return nil, false, unlock, fmt.Errorf("create volume %s: %w: %v", r.Name, ErrConflict, old.Options)
	case err == nil:
		return old, false, unlock, nil
	case !errors.Is(err, ErrNotFound):
		return nil, false, unlock, err
	}
	if err := l.publish(r); err != nil {
		return nil, false, unlock, fmt.Errorf("create volume %s: %w", r.Name, err)
	}
	return r, true, unlock, nil
}

// newRow checks what is asked for.
func newRow(v *api.Volume) (*row, error) {
	r := &row{Name: v.GetName(), Created: time.Now().UTC(), Labels: v.GetLabels(), Options: v.GetOptions(), Anonymous: v.GetAnonymous()}
	if r.Name == "" {
		r.Name, r.Anonymous = id.NewHex(), true
	}
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if d := v.GetDriver(); d != "" && d != "local" {
		return nil, fmt.Errorf("%w %s: there is no volume driver %q, only local", ErrInvalid, r.Name, d)
	}
	if _, err := parseMount(r.Options); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrInvalid, r.Name, err)
	}
	return r, nil
}

// publish makes the volume's directory whole before it gets its name.
func (l *Local) publish(r *row) error {
	tmp, err := os.MkdirTemp(l.dir, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // gone already if all went well
	if err := os.Chmod(tmp, 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(tmp, "_data"), 0o755); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(tmp, "volume.json"), r); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(l.dir, r.Name)); err != nil {
		return err
	}
	return syncDir(l.dir)
}

func (l *Local) read(name string) (*row, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	r := &row{}
	err := readJSON(filepath.Join(l.dir, name, "volume.json"), r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	return r, nil
}

func (l *Local) describe(r *row) *api.Volume {
	return &api.Volume{
		Name: r.Name, Driver: "local", Mountpoint: l.data(r.Name), CreatedAt: timestamppb.New(r.Created),
		Labels: r.Labels, Options: r.Options, Anonymous: r.Anonymous,
	}
}

// Get implements Driver.
func (l *Local) Get(_ context.Context, name string) (*api.Volume, error) {
	r, err := l.read(name)
	if err != nil {
		return nil, err
	}
	return l.describe(r), nil
}

// List implements Driver.
func (l *Local) List(context.Context) ([]*api.Volume, error) {
	rows, err := l.rows()
	if err != nil {
		return nil, err
	}
	vols := make([]*api.Volume, len(rows))
	for i, r := range rows {
		vols[i] = l.describe(r)
	}
	return vols, nil
}

// rows reads without locks: a volume's row is whole from its first day to its last. One that cannot be read does not hide
// the others.
func (l *Local) rows() ([]*row, error) {
	entries, err := os.ReadDir(l.dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var rows []*row
	for _, e := range entries {
		if checkName(e.Name()) != nil || !e.IsDir() {
			continue // not a volume
		}
		r, err := l.read(e.Name())
		switch {
		case err == nil:
			rows = append(rows, r)
		case !errors.Is(err, ErrNotFound): // removed meanwhile, or somebody else's directory
			l.opts.Logger.Error("a volume's description cannot be read", "volume", e.Name(), "error", err)
		}
	}
	return rows, nil
}

// Path implements Driver.
func (l *Local) Path(name string) (string, error) {
	if _, err := l.read(name); err != nil {
		return "", err
	}
	return l.data(name), nil
}

// Remove implements Driver.
func (l *Local) Remove(ctx context.Context, name string, force bool) error {
	users := l.opts.InUse(name) // without the lock: it may ask about volumes
	unlock, err := l.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	defer unlock()
	if _, err := l.read(name); err != nil {
		if force && errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	}
	mounted, err := l.users(name)
	if err != nil {
		return err
	}
	if users = append(users, mounted...); len(users) > 0 {
		slices.Sort(users)
		return fmt.Errorf("%w: %s is used by container %s: remove that first", ErrInUse, name, strings.Join(slices.Compact(users), ", "))
	}
	if err := unmount(l.data(name)); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	// What somebody has mounted inside is not the volume's: deleting would go into it.
	inner, err := mountedBelow(l.data(name))
	if err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	if len(inner) > 0 {
		return fmt.Errorf("remove volume %s: %w: something is mounted on %s: unmount that first", name, ErrInUse, strings.Join(inner, ", "))
	}
	doomed := filepath.Join(l.dir, ".old-"+id.New())
	if err := os.Rename(filepath.Join(l.dir, name), doomed); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return l.deleteTree(doomed)
}

// deleteTree deletes a volume's directory, never what is mounted in it.
func (l *Local) deleteTree(path string) error {
	if err := unmount(filepath.Join(path, "_data")); err != nil {
		return fmt.Errorf("remove volume: %w", err)
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove volume: %w", err)
	}
	return nil
}

// CopyUp fills the empty volume with what the image has in the directory from. A crash in between leaves the volume empty.
func (l *Local) CopyUp(ctx context.Context, name, from string) error {
	unlock, err := l.locks.Lock(ctx, name)
	if err != nil {
		return fmt.Errorf("copy into volume %s: %w", name, err)
	}
	defer unlock()
	if _, err := l.read(name); err != nil {
		return err
	}
	if entries, err := os.ReadDir(l.data(name)); err != nil || len(entries) > 0 {
		return err // filled meanwhile
	}
	if err := os.WriteFile(l.filling(name), nil, 0o600); err != nil {
		return fmt.Errorf("copy into volume %s: %w", name, err)
	}
	if err := CopyUp(ctx, from, l.data(name)); err != nil {
		return errors.Join(fmt.Errorf("copy into volume %s: %w", name, err), l.empty(name))
	}
	return os.Remove(l.filling(name))
}

// empty removes what a broken CopyUp left. What others have mounted there by now is not looked at: see Local.
func (l *Local) empty(name string) error {
	entries, err := os.ReadDir(l.data(name))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(l.data(name), e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(l.filling(name))
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// writeJSON replaces a file in one step, durably.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if all went well
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
