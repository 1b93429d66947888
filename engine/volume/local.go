//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-dev/shoal/engine/fstree"
)

// Local keeps volumes in directories of this node, DIR/NAME/_data, or mounts there what their options say.
type Local struct{ dir string }

var _ Driver = (*Local)(nil)

// NewLocal returns the driver for the volumes below dir.
func NewLocal(dir string) *Local { return &Local{dir: dir} }

func (l *Local) data(name string) string { return filepath.Join(l.dir, name, "_data") }

// Create implements Driver.
func (l *Local) Create(_ context.Context, v Volume) error {
	if err := checkName(v.Name); err != nil {
		return err
	}
	if _, err := parseMount(v.Options); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := os.MkdirAll(filepath.Dir(l.data(v.Name)), 0o711); err != nil {
		return err
	}
	err := os.Mkdir(l.data(v.Name), 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = os.Chmod(l.data(v.Name), 0o755) // whatever the umask
	}
	return err
}

// removable refuses when somebody has mounted something inside: deleting would go into it.
func (l *Local) removable(v Volume) error {
	inner, err := mountedBelow(l.data(v.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(inner) > 0 {
		err = fmt.Errorf("%w: something is mounted on %s: unmount that first", ErrInUse, strings.Join(inner, ", "))
	}
	return err
}

// Remove implements Driver.
func (l *Local) Remove(_ context.Context, v Volume) error {
	if err := checkName(v.Name); err != nil {
		return err
	}
	if err := unmount(l.data(v.Name)); err != nil {
		return err
	}
	if err := l.removable(v); err != nil {
		return err
	}
	return fstree.RemoveAll(l.data(v.Name))
}

// Path implements Driver.
func (l *Local) Path(_ context.Context, v Volume) (string, error) {
	return l.data(v.Name), checkName(v.Name)
}

// Mount implements Driver.
func (l *Local) Mount(ctx context.Context, v Volume) (string, error) {
	m, err := parseMount(v.Options)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	target := l.data(v.Name)
	if _, err := os.Lstat(target); err != nil && m.fstype == "" {
		return "", err
	}
	if there, err := l.Mounted(ctx, v); err != nil || there {
		return target, err
	}
	return target, m.at(ctx, target)
}

// Unmount implements Driver.
func (l *Local) Unmount(_ context.Context, v Volume) error {
	if len(v.Options) == 0 {
		return nil // whatever an administrator has mounted there stays
	}
	return unmount(l.data(v.Name))
}

// Mounted implements Driver.
func (l *Local) Mounted(_ context.Context, v Volume) (bool, error) {
	if len(v.Options) == 0 {
		return true, nil // there is nothing to mount
	}
	return isMountPoint(l.data(v.Name))
}

// Scope implements Driver.
func (l *Local) Scope(context.Context) (string, error) { return "local", nil }
