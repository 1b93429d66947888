//go:build linux

package volume

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

func open(t *testing.T, dir string) *Store { return openAt(t, dir, Options{}) }

func openAt(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	o.Logger = slog.New(slog.DiscardHandler)
	l, err := NewStore(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			unmount(filepath.Join(dir, e.Name(), "_data"))
		}
	})
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func expect(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", path, got, err, want)
	}
}

func make1(t *testing.T, l *Store, name string, options map[string]string) string {
	t.Helper()
	v, _, err := l.Create(t.Context(), &api.Volume{Name: name, Options: options})
	must(t, err)
	return v.Mountpoint
}

func mount1(t *testing.T, l *Store, name string) {
	t.Helper()
	_, err := l.Mount(t.Context(), name, "user")
	must(t, err)
}

func TestCreate(t *testing.T) {
	l := open(t, t.TempDir())
	tmpfs := map[string]string{"type": "tmpfs", "o": "size=1m"}
	first, _, err := l.Create(t.Context(), &api.Volume{Name: "data", Options: tmpfs, Labels: map[string]string{"a": "b"}})
	must(t, err)
	for _, o := range []map[string]string{nil, tmpfs} {
		again, _, err := l.Create(t.Context(), &api.Volume{Name: "data", Options: o})
		if err != nil || !again.CreatedAt.AsTime().Equal(first.CreatedAt.AsTime()) || again.Labels["a"] != "b" {
			t.Errorf("again with options %v: %v, %v", o, again, err)
		}
	}
	if _, _, err := l.Create(t.Context(), &api.Volume{Name: "data", Options: map[string]string{"type": "tmpfs"}}); !errors.Is(err, ErrConflict) {
		t.Errorf("other options: %v", err)
	}
	anonymous, _, err := l.Create(t.Context(), nil)
	if err != nil || len(anonymous.Name) != 64 || !anonymous.Anonymous {
		t.Errorf("anonymous: %v, %v", anonymous, err)
	}
	make1(t, l, "also", nil)
	list, err := l.List(t.Context())
	byName := func(a, b *api.Volume) int { return strings.Compare(a.Name, b.Name) }
	if err != nil || len(list) != 3 || !slices.IsSortedFunc(list, byName) {
		t.Errorf("list: %v, %v", list, err)
	}
	got, err := l.Get(t.Context(), "data")
	if err != nil || got.Mountpoint != first.Mountpoint || got.Driver != "local" {
		t.Errorf("get: %v, %v", got, err)
	}
	if _, err := l.Get(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get what is not there: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	l := open(t, t.TempDir())
	for name, v := range map[string]*api.Volume{
		"path":             {Name: "../x"},
		"slash":            {Name: "a/b"},
		"dot first":        {Name: ".x"},
		"long":             {Name: strings.Repeat("x", 256)},
		"unknown option":   {Name: "x", Options: map[string]string{"size": "1"}},
		"no type":          {Name: "x", Options: map[string]string{"device": "/x"}},
		"unknown type":     {Name: "x", Options: map[string]string{"type": "proc", "device": "x"}},
		"no device":        {Name: "x", Options: map[string]string{"type": "nfs"}},
		"relative bind":    {Name: "x", Options: map[string]string{"o": "bind", "device": "x"}},
		"not bind":         {Name: "x", Options: map[string]string{"type": "none", "device": "/x"}},
		"bind with option": {Name: "x", Options: map[string]string{"type": "none", "o": "bind,size=1", "device": "/x"}},
	} {
		if _, _, err := l.Create(t.Context(), v); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"..", "", "a/../b"} {
		if _, err := l.Get(t.Context(), name); err == nil {
			t.Errorf("path of %q", name)
		}
		if err := l.Remove(t.Context(), name, false, nil); err == nil {
			t.Errorf("removed %q", name)
		}
	}
}

func TestRemove(t *testing.T) {
	users := []string{"web"}
	l := open(t, t.TempDir())
	inUse := func() []string { return users }
	put(t, make1(t, l, "data", nil)+"/f", "1")
	_, err := l.Mount(t.Context(), "data", "db")
	must(t, err)
	for _, force := range []bool{false, true} {
		if err := l.Remove(t.Context(), "data", force, inUse); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "web") {
			t.Errorf("in use (force %v): %v", force, err)
		}
	}
	users = nil
	if err := l.Remove(t.Context(), "data", true, inUse); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "db") {
		t.Errorf("mounted: %v", err)
	}
	must(t, l.Unmount(t.Context(), "data", "db"))
	must(t, l.Unmount(t.Context(), "data", "nobody"))
	must(t, l.Remove(t.Context(), "data", false, nil))
	if entries, _ := os.ReadDir(l.dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	if err := l.Remove(t.Context(), "data", false, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: %v", err)
	}
	must(t, l.Remove(t.Context(), "data", true, nil))
	must(t, l.Unmount(t.Context(), "data", "db"))
}

func TestMounts(t *testing.T) {
	source := t.TempDir()
	put(t, source+"/f", "mine")
	for name, tc := range map[string]struct {
		options  map[string]string
		there    bool // source's file is seen
		readOnly bool
	}{
		"plain":          {},
		"tmpfs":          {options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=100k,mode=0755,noexec"}},
		"bind":           {options: map[string]string{"type": "none", "o": "bind", "device": source}, there: true},
		"bind, no type":  {options: map[string]string{"o": "rbind", "device": source}, there: true},
		"bind read-only": {options: map[string]string{"type": "none", "o": "bind,ro", "device": source}, there: true, readOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir)
			make1(t, l, "v", tc.options)
			path, err := l.Mount(t.Context(), "v", "one")
			must(t, err)
			for _, user := range []string{"one", "two"} {
				if again, err := l.Mount(t.Context(), "v", user); err != nil || again != path {
					t.Errorf("again: %s, %v", again, err)
				}
			}
			if _, err := os.Stat(path + "/f"); (err == nil) != tc.there {
				t.Errorf("the source's file: %v", err)
			}
			if err := os.WriteFile(path+"/g", nil, 0o600); errors.Is(err, unix.EROFS) != tc.readOnly {
				t.Errorf("write: %v", err)
			}
			l = open(t, dir) // the daemon starts anew
			must(t, l.Unmount(t.Context(), "v", "one"))
			if mounted, err := isMountPoint(path); err != nil || mounted != (tc.options != nil) {
				t.Errorf("with one user left: mounted %v, %v", mounted, err)
			}
			must(t, l.Reconcile(t.Context(), func(string) bool { return false }))
			if mounted, err := isMountPoint(path); err != nil || mounted {
				t.Errorf("with none: mounted %v, %v", mounted, err)
			}
			_, err = l.Mount(t.Context(), "v", "three")
			must(t, err)
			must(t, l.Unmount(t.Context(), "v", "three"))
			must(t, l.Remove(t.Context(), "v", false, nil))
			expect(t, source+"/f", "mine") // never what is mounted
		})
	}
}

// What somebody has mounted inside a volume is not deleted with it.
func TestRemoveKeepsWhatIsMountedInside(t *testing.T) {
	source := t.TempDir()
	put(t, source+"/f", "mine")
	l := open(t, filepath.Join(t.TempDir(), "with blank"))
	inner := make1(t, l, "v", nil) + "/inner"
	must(t, os.Mkdir(inner, 0o755))
	must(t, unix.Mount(source, inner, "", unix.MS_BIND, ""))
	t.Cleanup(func() { unmount(inner) })
	if err := l.Remove(t.Context(), "v", true, nil); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), inner) {
		t.Errorf("with a mount inside: %v", err)
	}
	expect(t, source+"/f", "mine")
	must(t, unmount(inner))
	must(t, l.Remove(t.Context(), "v", false, nil))
	expect(t, source+"/f", "mine")
}

// A reboot ends all mounts and all users.
func TestReboot(t *testing.T) {
	dir := t.TempDir()
	l := openAt(t, dir, Options{Boot: "first"})
	path := make1(t, l, "v", map[string]string{"type": "tmpfs"})
	_, err := l.Mount(t.Context(), "v", "one")
	must(t, err)
	must(t, unmount(path)) // as a reboot does
	l = openAt(t, dir, Options{Boot: "second"})
	must(t, l.Unmount(t.Context(), "v", "one"))
	_, err = l.Mount(t.Context(), "v", "two")
	must(t, err)
	if mounted, err := isMountPoint(path); err != nil || !mounted {
		t.Errorf("mounted: %v, %v", mounted, err)
	}
	must(t, l.Unmount(t.Context(), "v", "two"))
	must(t, l.Remove(t.Context(), "v", false, nil))
}

// A mount that somebody undid is made again for the next user.
func TestMountedAgain(t *testing.T) {
	l := open(t, t.TempDir())
	path := make1(t, l, "v", map[string]string{"type": "tmpfs"})
	for _, user := range []string{"one", "two"} {
		_, err := l.Mount(t.Context(), "v", user)
		must(t, err)
		if mounted, err := isMountPoint(path); err != nil || !mounted {
			t.Errorf("mounted for %s: %v, %v", user, mounted, err)
		}
		must(t, unmount(path))
	}
}

// A mount that fails is not remembered, one that was there before is.
func TestFailedMount(t *testing.T) {
	source := t.TempDir() + "/source"
	must(t, os.Mkdir(source, 0o755))
	l := open(t, t.TempDir())
	path := make1(t, l, "v", map[string]string{"o": "bind", "device": source})
	_, err := l.Mount(t.Context(), "v", "one")
	must(t, err)
	must(t, unmount(path))
	must(t, os.Remove(source))
	for _, user := range []string{"one", "two"} {
		if _, err := l.Mount(t.Context(), "v", user); err == nil {
			t.Errorf("%s: mounted what is not there", user)
		}
	}
	if users := l.mounted("v").Users; len(users) != 1 || users[0] != "one" {
		t.Errorf("users: %v", users)
	}
}

// What a crash left half done goes at the next start; what was mounted then is not touched.
func TestCrash(t *testing.T) {
	dir, source := t.TempDir(), t.TempDir()
	put(t, source+"/f", "mine")
	l := open(t, dir)
	put(t, make1(t, l, "half", nil)+"/some", "x")
	put(t, l.filling("half"), "")
	put(t, make1(t, l, "whole", nil)+"/some", "x")
	must(t, os.MkdirAll(dir+"/unborn/_data", 0o755))
	put(t, dir+"/unborn/.tmp-1", "{")
	gone := make1(t, l, "removing", nil)
	put(t, gone+"/some", "x")
	r, err := l.load("removing")
	must(t, err)
	r.Half = removing
	must(t, writeJSON(l.rowFile("removing"), r, false))
	must(t, unix.Mount(source, gone, "", unix.MS_BIND, ""))
	must(t, os.MkdirAll(dir+"/adopted/_data/file", 0o755))
	must(t, writeJSON(l.rowFile("adopted"), &row{Name: "adopted", Driver: DriverLocal, Half: making}, false))
	must(t, os.MkdirAll(dir+"/begun/_data", 0o755))
	must(t, writeJSON(l.rowFile("begun"), &row{Name: "begun", Driver: DriverLocal, Half: making}, false))
	must(t, os.Mkdir(dir+"/lost+found", 0o755))
	put(t, dir+"/foreign/file", "not ours")
	put(t, dir+"/spoilt/volume.json", "{")
	if _, err := l.Get(t.Context(), "removing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a volume that is being removed: %v", err)
	}
	l = open(t, dir)
	expect(t, source+"/f", "mine")
	expect(t, dir+"/foreign/file", "not ours")
	expect(t, l.local.data("whole")+"/some", "x")
	if entries, err := os.ReadDir(l.local.data("half")); err != nil || len(entries) != 0 {
		t.Errorf("the half filled one: %v, %v", entries, err)
	}
	for _, name := range []string{"unborn", "removing", "begun"} {
		if _, err := os.Lstat(dir + "/" + name); err == nil {
			t.Errorf("left: %s", name)
		}
	}
	if list, err := l.List(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("list: %v, %v", list, err)
	}
	must(t, l.Reconcile(t.Context(), func(string) bool { return true }))
}

func TestCopyUp(t *testing.T) {
	l := open(t, t.TempDir())
	from := t.TempDir()
	put(t, from+"/sub/f", "image's")
	must(t, os.Chmod(from, 0o700))
	data := make1(t, l, "v", nil)
	mount1(t, l, "v")
	must(t, l.CopyUp(t.Context(), "v", from))
	expect(t, data+"/sub/f", "image's")
	if fi, err := os.Stat(data); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("its own mode: %v, %v", fi, err)
	}
	put(t, data+"/sub/f", "user's")
	must(t, l.CopyUp(t.Context(), "v", from)) // only once
	expect(t, data+"/sub/f", "user's")
	other := make1(t, l, "w", nil)
	mount1(t, l, "w")
	if err := l.CopyUp(t.Context(), "w", from+"/none"); err == nil {
		t.Error("copied what is not there")
	}
	if entries, err := os.ReadDir(other); err != nil || len(entries) != 0 {
		t.Errorf("a copy that failed left %v, %v", entries, err)
	}
}

func TestConcurrently(t *testing.T) {
	l := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			name, user := string("ab"[i%2]), string(rune('a'+i))
			for range 10 {
				if _, _, err := l.Create(t.Context(), &api.Volume{Name: name, Options: map[string]string{"type": "tmpfs"}}); err != nil {
					t.Error(err)
				}
				if _, err := l.Mount(t.Context(), name, user); err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				if _, err := l.List(t.Context()); err != nil {
					t.Error(err)
				}
				if err := l.Unmount(t.Context(), name, user); err != nil {
					t.Error(err)
				}
				if err := l.Remove(t.Context(), name, true, nil); err != nil && !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"a", "b"} {
		must(t, l.Remove(t.Context(), name, true, nil))
	}
	if entries, _ := os.ReadDir(l.dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}
