//go:build linux

package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// faulty is a driver in memory that fails, or kills the daemon, when told to.
type faulty struct {
	Driver
	volumes map[string]bool // and whether it is mounted
	calls   []string
	fail    string // this method returns an error
	die     string // this method does its work, and then the daemon is dead
}

type killed struct{}

func (f *faulty) do(method, name string, work func()) error {
	f.calls = append(f.calls, method+" "+name)
	if f.fail == method {
		return fmt.Errorf("%s: the disk is on fire", method)
	}
	work()
	if f.die == method {
		panic(killed{})
	}
	return nil
}

func (f *faulty) Create(_ context.Context, v Volume) error {
	return f.do("create", v.Name, func() {
		mounted := f.volumes[v.Name]
		f.volumes[v.Name] = mounted
	})
}
func (f *faulty) Remove(_ context.Context, v Volume) error {
	return f.do("remove", v.Name, func() { delete(f.volumes, v.Name) })
}
func (f *faulty) Mount(_ context.Context, v Volume) (string, error) {
	return "/f/" + v.Name, f.do("mount", v.Name, func() { f.volumes[v.Name] = true })
}
func (f *faulty) Unmount(_ context.Context, v Volume) error {
	return f.do("unmount", v.Name, func() { f.volumes[v.Name] = false })
}
func (f *faulty) Mounted(context.Context, Volume) (bool, error) { return true, nil }
func (f *faulty) Scope(context.Context) (string, error)         { return "global", nil }

// node is a store with that driver under the name disk.
type node struct {
	*Store
	t   *testing.T
	dir string
	d   *faulty
	in  bool // the driver is installed
}

func newNode(t *testing.T) *node {
	n := &node{t: t, dir: t.TempDir(), d: &faulty{volumes: map[string]bool{}}, in: true}
	n.restart()
	return n
}

func (n *node) restart() {
	n.d.fail, n.d.die = "", ""
	n.Store = openAt(n.t, n.dir, Options{Find: func(_ context.Context, name string) (Driver, error) {
		if name != "disk" || !n.in {
			return nil, fmt.Errorf("%w: %s", ErrNoDriver, name)
		}
		return n.d, nil
	}})
}

// dying runs f in a daemon that dies in the driver's method.
func (n *node) dying(method string, f func()) {
	n.t.Helper()
	n.d.die = method
	defer func() {
		if _, ok := recover().(killed); !ok {
			n.t.Errorf("%s was not called: %v", method, n.d.calls)
		}
		n.restart()
	}()
	f()
}

func (n *node) create(name string) error {
	_, _, err := n.Create(n.t.Context(), &api.Volume{Name: name, Driver: "disk", Anonymous: strings.HasPrefix(name, "anon")})
	return err
}

// wants compares what the store shows and what the driver has.
func (n *node) wants(store, driver string) {
	n.t.Helper()
	list, err := n.List(n.t.Context())
	must(n.t, err)
	var names []string
	for _, v := range list {
		names = append(names, v.Name)
	}
	if got := strings.Join(names, " "); got != store {
		n.t.Errorf("the store has %q, want %q", got, store)
	}
	if got := strings.Join(slices.Sorted(maps.Keys(n.d.volumes)), " "); got != driver {
		n.t.Errorf("the driver has %q, want %q", got, driver)
	}
	dirs, _ := filepath.Glob(n.dir + "/*")
	if len(dirs) != len(list) {
		n.t.Errorf("on disk: %v", dirs)
	}
}

func all(string) bool { return true }

// A driver that fails leaves the old state, and what it must do later is done by Reconcile.
func TestDriverFails(t *testing.T) {
	n := newNode(t)
	n.d.fail = "create"
	if err := n.create("data"); err == nil || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("create: %v", err)
	}
	n.wants("", "")
	n.d.fail = ""
	must(t, n.create("data"))
	n.d.fail = "mount"
	if _, err := n.Mount(t.Context(), "data", "one"); err == nil || len(n.mounted("data").Users) > 0 {
		t.Errorf("mount: %v, users %v", err, n.mounted("data").Users)
	}
	n.d.fail = "unmount"
	mount1(t, n.Store, "data")
	if err := n.Unmount(t.Context(), "data", "user"); err == nil || len(n.mounted("data").Users) > 0 {
		t.Errorf("unmount: %v, users %v", err, n.mounted("data").Users)
	}
	if err := n.Remove(t.Context(), "data", true, nil); err == nil {
		t.Error("removed what could not be unmounted")
	}
	n.restart()
	must(t, n.Reconcile(t.Context(), all))
	if n.d.volumes["data"] {
		t.Error("still mounted after Reconcile")
	}
	n.d.fail = "remove"
	if err := n.Remove(t.Context(), "data", true, nil); err == nil {
		t.Error("removal did not fail")
	}
	n.wants("data", "data")
	n.d.fail = ""
	must(t, n.Remove(t.Context(), "data", false, nil))
	n.wants("", "")
}

// A daemon that dies in a driver's method finds its way on.
func TestKilledInDriver(t *testing.T) {
	n := newNode(t)
	n.d.volumes["others"] = false // another node's
	n.dying("create", func() { n.create("others") })
	must(t, n.Reconcile(t.Context(), all))
	n.wants("", "others")
	n.dying("create", func() { n.create("anon") })
	must(t, n.Reconcile(t.Context(), all))
	n.wants("", "others")
	n.dying("create", func() { n.create("others") })
	must(t, n.create("others"))
	n.wants("others", "others")

	n.dying("mount", func() { n.Mount(t.Context(), "others", "one") })
	must(t, n.Reconcile(t.Context(), func(string) bool { return false }))
	if n.d.volumes["others"] {
		t.Error("mounted for nobody")
	}
	mount1(t, n.Store, "others")
	n.dying("unmount", func() { n.Unmount(t.Context(), "others", "user") })
	must(t, n.Reconcile(t.Context(), all))
	if st := n.mounted("others"); n.d.volumes["others"] || st.Mounted || len(st.Users) > 0 {
		t.Errorf("mounted for nobody: %v", st)
	}
	n.dying("remove", func() { n.Remove(t.Context(), "others", false, nil) })
	n.in = false // the driver is late
	if err := n.Reconcile(t.Context(), all); !errors.Is(err, ErrNoDriver) {
		t.Errorf("reconcile without the driver: %v", err)
	}
	n.in = true
	must(t, n.Reconcile(t.Context(), all))
	n.wants("", "")
}

// The first user mounts, the last one unmounts, across restarts; nobody in between.
func TestUsersAreCounted(t *testing.T) {
	n := newNode(t)
	must(t, n.create("data"))
	for _, user := range []string{"one", "two", "one", "three"} {
		if path, err := n.Mount(t.Context(), "data", user); err != nil || path != "/f/data" {
			t.Errorf("%s: %q, %v", user, path, err)
		}
		n.restart()
	}
	must(t, n.Unmount(t.Context(), "data", "one"))
	must(t, n.Unmount(t.Context(), "data", "nobody"))
	must(t, n.Reconcile(t.Context(), func(u string) bool { return u != "two" }))
	if got := strings.Join(n.d.calls, ","); got != "create data,mount data" {
		t.Errorf("with users: %s", got)
	}
	must(t, n.Unmount(t.Context(), "data", "three"))
	if got := strings.Join(n.d.calls, ","); got != "create data,mount data,unmount data" {
		t.Errorf("without: %s", got)
	}
}

// A volume whose driver was taken away is forgotten by force.
func TestDriverIsGone(t *testing.T) {
	n := newNode(t)
	must(t, n.create("data"))
	n.in = false
	if err := n.Remove(t.Context(), "data", false, nil); !errors.Is(err, ErrNoDriver) {
		t.Errorf("remove: %v", err)
	}
	n.wants("data", "data")
	must(t, n.Remove(t.Context(), "data", true, nil))
	n.wants("", "data")
	if _, _, err := n.Create(t.Context(), &api.Volume{Name: "new", Driver: "disk"}); !errors.Is(err, ErrNoDriver) {
		t.Errorf("create: %v", err)
	}
	if _, err := os.Stat(n.dir + "/new"); err == nil {
		t.Error("a volume without a driver left a directory")
	}
}

// A power cut while a volume is made may leave its row empty. Its name is free.
func TestTornRow(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		s, err := NewStore(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := os.MkdirAll(filepath.Join(dir, "torn"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "torn", "volume.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, created, err := open().Create(t.Context(), &api.Volume{Name: "torn"}); err != nil || !created {
		t.Errorf("created %v, %v", created, err)
	}
}
