//go:build linux

// Package volume keeps named directories that outlive containers.
//
// Driver is the contract, NewLocal its implementation on this node's disk. It does not mount volumes into containers: it gives a path on the host.
package volume

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/shoal-dev/shoal/engine/fstree"
	"github.com/shoal-dev/shoal/proto/api"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("no such volume")
	ErrInUse    = errors.New("volume is in use")
	ErrConflict = errors.New("volume exists with other options")
	ErrInvalid  = errors.New("invalid volume")
)

// Driver keeps volumes. Methods may be called concurrently, also for one volume. Each leaves the old or the new state
// after a crash. Volumes given and returned are the caller's own.
type Driver interface {
	// Create makes a volume; without a name it is anonymous and gets one of 64 hex digits. If the name is taken and
	// the options asked for are none or the same, the existing volume is the answer, otherwise ErrConflict.
	Create(ctx context.Context, v *api.Volume) (*api.Volume, error)
	// Get returns ErrNotFound for a volume that is not there.
	Get(ctx context.Context, name string) (*api.Volume, error)
	// List is sorted by name.
	List(ctx context.Context) ([]*api.Volume, error)
	// Remove deletes a volume and all in it. A volume with users is refused with ErrInUse even with force; an unknown
	// one with ErrNotFound unless force is set.
	Remove(ctx context.Context, name string, force bool) error
	// Path is where the volume's files are, or will be once it is mounted.
	Path(name string) (string, error)
	// Mount makes the files available for user (a container's ID) and returns their path. A second call for one user
	// counts once. Users are remembered across restarts of the daemon.
	Mount(ctx context.Context, name, user string) (string, error)
	// Unmount ends what Mount began; with the last user the files may become unavailable. An unknown user is no error.
	Unmount(ctx context.Context, name, user string) error
	// Reconcile forgets users that alive does not know, and mounts again what the others need: after a restart.
	Reconcile(ctx context.Context, alive func(user string) bool) error
}

// maxName keeps a volume's directory within what file systems allow.
const maxName = 255

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

func checkName(name string) error {
	if len(name) > maxName || !nameForm.MatchString(name) {
		return fmt.Errorf("%w name %q: use letters, digits, _ . - and begin with a letter or digit", ErrInvalid, name)
	}
	return nil
}

// CopyUp copies what an image has in the directory src into the empty directory dst, with owners, modes, links, times
// and extended attributes, dst's own included. It never follows links below the two.
func CopyUp(ctx context.Context, src, dst string) error {
	return fstree.Copy(ctx, src, dst)
}
