//go:build linux

package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/fstree"
)

// disk is the snapshots as they lie on disk: directories with short names, each published by one rename.
//
//	DIR/s/N/info.json   {"Key","Parent","Active"}; N counts up and is short, as overlayfs has a page for all options
//	DIR/s/N/fs          the content
//	DIR/s/N/work        active snapshots: overlayfs' own
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
		b, err := os.ReadFile(filepath.Join(d.path(n), "info.json"))
		if err != nil {
			return err
		}
		e := &entry{n: n}
		if err := json.Unmarshal(b, &e.Info); err != nil {
			return fmt.Errorf("snapshot %d: %w", n, err)
		}
		d.byKey[e.Key] = e
		d.next = max(d.next, n+1)
	}
	for _, e := range d.byKey {
		if e.Parent == "" {
			continue
		}
		p := d.byKey[e.Parent]
		if p == nil {
			return fmt.Errorf("snapshot %s: its parent %s is missing", e.Key, e.Parent)
		}
		p.children++
	}
	return nil
}

// claim waits until nobody else makes key. It returns false if the snapshot exists; otherwise release must follow.
func (d *disk) claim(ctx context.Context, key string) (release func(), mine bool, err error) {
	for {
		d.mu.Lock()
		if d.byKey[key] != nil {
			d.mu.Unlock()
			return nil, false, nil
		}
		busy := d.building[key]
		if busy == nil {
			done := make(chan struct{})
			d.building[key] = done
			d.mu.Unlock()
			return func() { d.release(key, done) }, true, nil
		}
		d.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func (d *disk) release(key string, done chan struct{}) {
	d.mu.Lock()
	delete(d.building, key)
	d.mu.Unlock()
	close(done)
}

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
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(staged, "info.json"), b, 0o600); err != nil {
		return err
	}
	if !info.Active { // a layer is kept for good: its bytes must be on disk before its name is
		if err := syncFS(staged); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	parent := d.byKey[info.Parent]
	if info.Parent != "" && (parent == nil || parent.Active) {
		return fmt.Errorf("parent %s: %w", info.Parent, ErrNotFound)
	}
	e := &entry{Info: info, n: d.next}
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

// chain returns the numbers of key and its ancestors, nearest first.
func (d *disk) chain(key string) ([]int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ns []int
	for key != "" {
		e := d.byKey[key]
		if e == nil {
			return nil, fmt.Errorf("snapshot %s: %w", key, ErrNotFound)
		}
		ns = append(ns, e.n)
		key = e.Parent
	}
	return ns, nil
}

// active returns an active snapshot.
func (d *disk) active(key string) (*entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byKey[key]
	if e == nil {
		return nil, fmt.Errorf("snapshot %s: %w", key, ErrNotFound)
	}
	if !e.Active {
		return nil, fmt.Errorf("snapshot %s is an image layer, it cannot be mounted for writing", key)
	}
	return e, nil
}

// Remove implements Snapshotter.
func (d *disk) Remove(_ context.Context, key string) error {
	doomed, err := d.unpublish(key)
	if err != nil || doomed == "" {
		return err
	}
	if err := fstree.RemoveAll(doomed); err != nil {
		return fmt.Errorf("remove snapshot %s: %w", key, err)
	}
	return nil
}

// unpublish takes the snapshot away in one step and says where its remains are.
func (d *disk) unpublish(key string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byKey[key]
	if e == nil {
		return "", nil
	}
	if e.children > 0 {
		return "", fmt.Errorf("remove snapshot %s: %w by %d others", key, ErrInUse, e.children)
	}
	doomed := filepath.Join(d.tmp(), "old-"+strconv.Itoa(e.n))
	if err := os.Rename(d.path(e.n), doomed); err != nil {
		return "", fmt.Errorf("remove snapshot %s: %w", key, err)
	}
	delete(d.byKey, key)
	if p := d.byKey[e.Parent]; p != nil {
		p.children--
	}
	return doomed, nil
}

// Stat implements Snapshotter.
func (d *disk) Stat(_ context.Context, key string) (Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.byKey[key]
	if e == nil {
		return Info{}, fmt.Errorf("snapshot %s: %w", key, ErrNotFound)
	}
	return e.Info, nil
}

// List implements Snapshotter. The order is that of creation.
func (d *disk) List(context.Context) ([]Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	es := make([]*entry, 0, len(d.byKey))
	for _, e := range d.byKey {
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b *entry) int { return a.n - b.n })
	infos := make([]Info, len(es))
	for i, e := range es {
		infos[i] = e.Info
	}
	return infos, nil
}

// Cleanup implements Snapshotter. It leaves alone what is being made right now.
func (d *disk) Cleanup(context.Context) error {
	d.mu.Lock()
	busy := len(d.building) > 0
	d.mu.Unlock()
	entries, err := os.ReadDir(d.tmp())
	if err != nil {
		return fmt.Errorf("clean snapshots: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if busy && strings.HasPrefix(e.Name(), "new-") {
			continue
		}
		if err := fstree.RemoveAll(filepath.Join(d.tmp(), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("clean snapshots: %w", err))
		}
	}
	return errors.Join(errs...)
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
