//go:build linux

package volume

import "context"

// DriverLocal is the name of the driver that is always there.
const DriverLocal = "local"

// Volume is a volume as its driver sees it.
type Volume struct {
	Name    string
	Options map[string]string
	// MountID is the same in every Mount and Unmount of one volume, for drivers that count.
	MountID string
}

// Driver holds the files of volumes. The Store remembers the volumes, counts their users and calls a driver
//
//   - for one volume one call at a time, for different volumes at once;
//   - again with the same arguments after an error, or after a crash that left the outcome unknown: every method finds
//     done what is done, and that is no error;
//   - with the caller's context: a driver that waits for something else gives up when it ends.
//
// volumetest.Run checks an implementation.
type Driver interface {
	// Create makes a volume, empty, or finds the one of this name. Options that it does not know are an
	// error (ErrInvalid, if it can tell), and leave nothing. What can only be known by mounting (is the server there?) is not asked before Mount.
	Create(ctx context.Context, v Volume) error
	// Remove deletes a volume that is not mounted, and all in it. One that is not there is no error. Files that belong to
	// somebody else, such as those of another mount inside, stay: ErrInUse.
	Remove(ctx context.Context, v Volume) error
	// Path is where the files are, or will be once they are mounted. A driver that knows only then says "".
	Path(ctx context.Context, v Volume) (string, error)
	// Mount makes the files available until Unmount, and returns their path. It is called for the first user of a volume,
	// and again when Mounted has said that the mount is gone. What was written before is there again, unless the
	// volume's options say that it lives in memory.
	Mount(ctx context.Context, v Volume) (string, error)
	// Unmount follows the last user. It does not wait for files that are still open.
	Unmount(ctx context.Context, v Volume) error
	// Mounted says whether what Mount made is still there. A driver that cannot tell says true.
	Mounted(ctx context.Context, v Volume) (bool, error)
	// Scope is "local" for volumes of this node, "global" for those that every node with this driver sees.
	Scope(ctx context.Context) (string, error)
}

// Finder gives the driver of a name that is not DriverLocal, or ErrNoDriver.
type Finder func(ctx context.Context, name string) (Driver, error)
