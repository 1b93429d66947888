//go:build linux

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/fstree"
	"github.com/shoal-dev/shoal/internal/durable"
)

// stage makes an empty directory that publish can turn into a snapshot.
func (d *disk) stage() (string, error) {
	tmp, err := os.MkdirTemp(d.tmp(), "new-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o711); err != nil { // container processes look up paths through it
		return "", err
	}
	return tmp, os.Mkdir(filepath.Join(tmp, "fs"), 0o755)
}

// publish gives a staged directory its place and its key. The caller holds the claim on the key.
func (d *disk) publish(staged string, info Info) error {
	if err := writeInfo(staged, info); err != nil {
		return err
	}
	if info.Active {
		return d.place(staged, info)
	}
	// A layer is kept for good: its bytes must be on disk before its name is, and its name before an image counts on it.
	if err := syncFS(staged); err != nil {
		return err
	}
	if err := d.place(staged, info); err != nil {
		return err
	}
	return durable.Sync(d.snapshots())
}

func (d *disk) place(staged string, info Info) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	parent := d.byKey[info.Parent]
	if info.Parent != "" && (parent == nil || parent.Active) {
		return fmt.Errorf("parent %s: %w", info.Parent, ErrNotFound)
	}
	e := &entry{Info: info, n: d.next, children: d.childrenOf(info.Key)}
	if err := os.Rename(staged, d.path(e.n)); err != nil {
		return err
	}
	d.next++
	d.byKey[info.Key] = e
	if parent != nil {
		parent.children++
	}
	return nil
}

// syncFS writes everything of path's file system to disk: one call for the thousands of files of a layer.
func syncFS(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", path, err)
	}
	return nil
}

// unpack and prepare are the two ways to a new snapshot; make fills the staged directory.
func (d *disk) unpack(ctx context.Context, info Info, make func(staged string) error) error {
	release, mine, err := d.claim(ctx, info.Key)
	if err != nil || !mine {
		return err
	}
	defer release()
	return d.create(info, make)
}

func (d *disk) prepare(ctx context.Context, info Info, make func(staged string) error) error {
	if info.Key == "" {
		return errors.New("prepare snapshot: a key is needed")
	}
	release, mine, err := d.claim(ctx, info.Key)
	if err != nil {
		return err
	}
	if !mine {
		return fmt.Errorf("prepare snapshot %s: %w", info.Key, ErrExists)
	}
	defer release()
	return d.create(info, make)
}

func (d *disk) create(info Info, make func(staged string) error) error {
	staged, err := d.stage()
	if err != nil {
		return fmt.Errorf("create snapshot %s: %w", info.Key, err)
	}
	if err = make(staged); err == nil {
		err = d.publish(staged, info)
	}
	if err != nil {
		return fmt.Errorf("create snapshot %s: %w", info.Key, errors.Join(err, fstree.RemoveAll(staged)))
	}
	return nil
}
