//go:build linux

// Package snapshot turns image layers into mountable root file systems.
//
// A committed snapshot is one unpacked layer under its chain ID, read-only, shared by all that
// build on it. An active snapshot is a container's writable layer on a chain of committed ones.
// It does not fetch, verify or decompress layers: see engine/image.
package snapshot

import (
	"context"
	"errors"
	"os"
)

var (
	ErrNotFound = errors.New("no such snapshot")
	ErrExists   = errors.New("snapshot exists")
	ErrInUse    = errors.New("snapshot is in use")
)

// Mount is one mount(2): what to pass for a root file system at a target.
type Mount struct {
	Type    string // overlay, bind
	Source  string
	Options []string
}

// Info describes a snapshot.
type Info struct {
	Key    string
	Parent string
	Active bool
}

// View is how a mounted snapshot is seen.
type View struct {
	Users *os.File // user namespace that owns what is root's in the layers; nil shows owners as they are
	Label string   // SELinux label of all files, "" for their own
}

// ContextOption is a label as one more option of mount(2).
func ContextOption(label string) string {
	if label == "" {
		return ""
	}
	return `,context="` + label + `"`
}

// Snapshotter keeps snapshots on disk. Safe for concurrent use; every method leaves either the old or the new
// state after a crash at any moment, and Cleanup removes what a crash left half made.
type Snapshotter interface {
	// Unpack makes the committed snapshot key (a chain ID) on parent ("" for a base layer) by calling fill with an
	// empty directory that becomes the layer's content in overlayfs form (whiteouts as 0:0 character devices,
	// opaque directories by xattr). If key exists already, fill is not called and there is no error. The parent must
	// exist only once fill has returned, so that the layers of a chain can be unpacked side by side. Concurrent calls
	// for one key share the work: the others wait, and take over if the first one fails.
	Unpack(ctx context.Context, key, parent string, fill func(dir string) error) error
	// Prepare makes the active snapshot key on the committed parent ("" for an empty root file system). ErrExists if
	// there is such a key, ErrNotFound if there is no such parent.
	Prepare(ctx context.Context, key, parent string) error
	// Mounts says how to mount an active snapshot.
	Mounts(ctx context.Context, key string) ([]Mount, error)
	// Mount mounts an active snapshot at target; Unmount undoes it. Both are idempotent. With users, what root
	// owns in a layer belongs to that namespace's root at target; nil shows owners as they are. A snapshot is always
	// mounted for the same range of users, since what they write may be kept under the numbers that the host knows them by.
	Mount(ctx context.Context, key, target string, v View) error
	Unmount(ctx context.Context, target string) error
	// UpperDir is an active snapshot's writable directory, for diff and size: what was written, in overlayfs form.
	UpperDir(ctx context.Context, key string) (string, error)
	// Remove deletes a snapshot that nothing builds on (else ErrInUse); an active one must be unmounted first.
	// Removing an unknown key is no error.
	Remove(ctx context.Context, key string) error
	Stat(ctx context.Context, key string) (Info, error)
	List(ctx context.Context) ([]Info, error)
	Cleanup(ctx context.Context) error
}
