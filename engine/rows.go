//go:build linux

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/proto/api"
)

// On disk a container is a directory DATA-DIR/containers/ID with
//
//	request.pb    api.CreateContainerRequest as asked, written once
//	image.json    Image as it was then: the image may lose its name, or be removed by force
//	container.pb  api.Container as created, written again when it is renamed or updated
//	state.pb      api.Container as it is now, replaced by rename and not synced: after a power cut
//	              nothing of it matters that the older row does not say
//	hostname, hosts, resolv.conf, etc.sums (what these three held when they were written), ID-json.log
//
// ID.creating is one whose Create has not finished, ID.removing one whose Remove has not; both are
// undone when the engine starts.
const (
	requestFile = "request.pb"
	imageFile   = "image.json"
	createdFile = "container.pb"
	stateFile   = "state.pb"
	creatingExt = ".creating"
	removingExt = ".removing"

	rowFilePerm  = 0o600
	rowDirectory = "containers"
)

// saveMessage replaces a file; sync says that a power cut must not undo it.
func saveMessage(path string, m proto.Message, sync bool) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if sync {
		return durable.Write(path, data, rowFilePerm)
	}
	return durable.Replace(path, data, rowFilePerm)
}

// saveState writes the row as it is now. On a full disk it goes over the old one, whose blocks are there: the container that has
// filled the disk must still be stopped and removed.
func saveState(dir string, row *api.Container) error {
	path := filepath.Join(dir, stateFile)
	err := saveMessage(path, row, false)
	if isFull(err) && overwrite(path, row) == nil {
		return nil
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// overwrite replaces a file's content in its place, if that takes no more room. A daemon that is killed between the two steps leaves
// a row that cannot be read; the one as created counts then.
func overwrite(path string, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if int64(len(data)) > st.Blocks*512 {
		return unix.ENOSPC
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(data)))
}

// isKept says that a power cut must neither take a container nor bring it back. A service's task is not worth a sync, the cluster
// has replaced it by then; nor is what is removed at its end (--rm), unless its row is needed to find its volumes.
func (c *container) isKept() bool { return isKept(c.get()) }

func isKept(row *api.Container) bool {
	return row.TaskId == "" && (!row.AutoRemove || len(row.Mounts) > 0)
}

// rename gives a container's directory the name that says how far it is.
func (c *container) rename(to string) error {
	if c.isKept() {
		return durable.Rename(c.dir, to)
	}
	return os.Rename(c.dir, to)
}

// saveNew writes the files that a created container begins with.
func (c *container) saveNew() error {
	req, rerr := proto.Marshal(c.req)
	img, ierr := json.Marshal(c.img)
	row, cerr := proto.Marshal(c.row)
	if err := errors.Join(rerr, ierr, cerr); err != nil {
		return fmt.Errorf("encode container: %w", err)
	}
	files := map[string][]byte{requestFile: req, imageFile: img, createdFile: row}
	if c.isKept() {
		return durable.WriteNew(c.dir, files, rowFilePerm)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), data, rowFilePerm); err != nil {
			return err
		}
	}
	return nil
}

func loadMessage(path string, m proto.Message) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("read %s: empty", path)
	}
	return proto.Unmarshal(data, m)
}

// loadContainer reads one directory. The newest readable row counts.
func loadContainer(dir string) (*container, error) {
	id := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(dir), creatingExt), removingExt)
	req, row := &api.CreateContainerRequest{}, &api.Container{}
	if err := loadMessage(filepath.Join(dir, requestFile), req); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	img := &Image{}
	if data, err := os.ReadFile(filepath.Join(dir, imageFile)); err == nil {
		if err := json.Unmarshal(data, img); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", imageFile, dir, err)
		}
	}
	err := loadMessage(filepath.Join(dir, stateFile), row)
	if err != nil || row.Id != id {
		row = &api.Container{}
		err = loadMessage(filepath.Join(dir, createdFile), row)
	}
	if err != nil {
		return nil, err
	}
	if row.Id != id {
		return nil, fmt.Errorf("read %s: holds container %q", dir, row.Id)
	}
	complete(row, req, img)
	return newContainer(dir, row, req, img), nil
}

// isTorn says that a power cut has left a container's files empty: one that is not kept, whose row is never waited for to be on
// disk. Nobody could remove it.
func isTorn(dir string) bool {
	for _, name := range []string{requestFile, imageFile, createdFile} {
		if st, err := os.Lstat(filepath.Join(dir, name)); err == nil && st.Size() == 0 {
			return true
		}
	}
	return false
}

// settle finishes writing a row that a crash has cut off: a file that was being written goes, and what a container was created as
// follows what it is now (see amend).
func (c *container) settle() error {
	unfinished, err := filepath.Glob(filepath.Join(c.dir, "*"+durable.UnfinishedExt))
	if err != nil {
		return err
	}
	for _, path := range unfinished {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	created := &api.Container{}
	path := filepath.Join(c.dir, createdFile)
	if err := loadMessage(path, created); err != nil {
		return err
	}
	want := proto.CloneOf(created)
	amendable(want, c.row)
	if proto.Equal(want, created) {
		return nil
	}
	return saveMessage(path, want, true)
}

// amendable copies what may change after a container was created.
func amendable(to, from *api.Container) {
	to.Name, to.Networks, to.Restart = from.Name, from.Networks, from.Restart
	if to.Spec != nil {
		to.Spec.Limits = from.Spec.GetLimits()
	}
}
