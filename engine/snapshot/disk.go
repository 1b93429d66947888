//go:build linux

package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// disk is the snapshots as they lie on disk: directories with short names, each published by one rename.
//
//	DIR/s/N/info.json   {"Key","Parent","Active"} (see writeInfo); N counts up and is short, as overlayfs has a page for all options
//	DIR/s/N/fs          the content
//	DIR/s/N/work        active snapshots: overlayfs' own
//	DIR/s/N.damaged     nobody knows what it was
//	DIR/tmp/new-*       being made; DIR/tmp/old-* being removed
type disk struct {
	dir string

	mu       sync.Mutex
	byKey    map[string]*entry
	next     int
	building map[string]chan struct{} // key: closed when the one who makes it has ended
}

type entry struct {
	Info
	n        int
	children int
}

func openDisk(dir string) (*disk, error) {
	d := &disk{dir: dir, byKey: map[string]*entry{}, building: map[string]chan struct{}{}, next: 1}
	for _, p := range []string{d.snapshots(), d.tmp()} {
		if err := os.MkdirAll(p, 0o711); err != nil {
			return nil, fmt.Errorf("create snapshot directory: %w", err)
		}
	}
	// In layers are programs that run as root whoever starts them: a user of the host who reached one would be root (CVE-2021-41091).
	if err := os.Chmod(dir, 0o710); err != nil {
		return nil, fmt.Errorf("close snapshot directory to others: %w", err)
	}
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("read snapshots in %s: %w", dir, err)
	}
	return d, nil
}

func (d *disk) snapshots() string   { return filepath.Join(d.dir, "s") }
func (d *disk) tmp() string         { return filepath.Join(d.dir, "tmp") }
func (d *disk) path(n int) string   { return filepath.Join(d.snapshots(), strconv.Itoa(n)) }
func (d *disk) fsPath(n int) string { return filepath.Join(d.path(n), "fs") }

func (d *disk) load() error {
	names, err := os.ReadDir(d.snapshots())
	if err != nil {
		return err
	}
	for _, name := range names {
		n, err := strconv.Atoi(name.Name())
		if err != nil {
			continue // not ours
		}
		e := &entry{n: n}
		if e.Info, err = readInfo(d.path(n)); errors.Is(err, errDamaged) {
			// What was written in it is kept. One container less must not keep all others from running.
			if err := os.Rename(d.path(n), d.path(n)+damagedExt); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("snapshot %d: %w", n, err)
		}
		d.byKey[e.Key] = e
		d.next = max(d.next, n+1)
	}
	for _, e := range d.byKey {
		e.children = d.childrenOf(e.Key)
	}
	return nil
}

// childrenOf counts: a parent may have been lost, and be unpacked again after its children were found.
func (d *disk) childrenOf(key string) (n int) {
	for _, e := range d.byKey {
		if e.Parent == key {
			n++
		}
	}
	return n
}
