//go:build linux

package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// A client that attaches and leaves before it reads keeps no container from writing.
func TestAttachedAndGone(t *testing.T) {
	l := openLab(t)
	r := request("", "until test -e /go; do sleep 0.01; done; head -c 2000000 /dev/zero | tr '\\0' x")
	r.Spec.Log = &api.LogConfig{Driver: logNone}
	id := l.run(r)
	for range 5 {
		ctx, leave := context.WithCancel(l.ctx())
		if _, err := l.Attach(ctx, id); err != nil {
			t.Fatal(err)
		}
		leave()
	}
	ctx, leave := context.WithCancel(l.ctx())
	leave()
	a, err := l.Attach(l.ctx(), id)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // two cases that are ready: any may be taken
		if s, err := a.Stream(ctx); err == nil {
			s.Close()
			break
		}
	}
	l.touch(id, "/go")
	l.ended(id)
}

// What a container makes of its files in /etc, the daemon does not take into its memory.
func TestHugeHostsFile(t *testing.T) {
	l := openLab(t)
	l.network(&api.LocalNetwork{Name: "one"})
	id := l.run(on("", at(NetworkBridge)))
	hosts := filepath.Join(l.rowDir(id), "hosts")
	const size = 1 << 40
	if err := os.Truncate(hosts, size); err != nil { // as the container's root can
		t.Fatal(err)
	}
	if err := l.Connect(l.ctx(), id, at("one")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(hosts); err != nil || st.Size() != size {
		t.Errorf("the container's own file: %v, %v", st, err)
	}
}

// poor is a runtime of a daemon that has run out of descriptors for a while.
type poor struct {
	runtime.Runtime
	left atomic.Int32
}

func (p *poor) Wait(ctx context.Context, id string) (runtime.Exit, error) {
	if p.left.Add(-1) >= 0 {
		return runtime.Exit{}, &os.PathError{Op: "open", Path: "shim", Err: unix.EMFILE}
	}
	return p.Runtime.Wait(ctx, id)
}

// A container goes on although the daemon cannot ask about its end, and its end is seen later.
func TestDaemonOutOfDescriptors(t *testing.T) {
	l := openLab(t)
	p := &poor{Runtime: l.cfg.Runtime}
	p.left.Store(1)
	l.cfg.Runtime = p
	id := l.run(request("", "sleep 0.2; exit 7"))
	if row := l.ended(id); row.ExitCode != 7 || row.Error != "" {
		t.Errorf("ended with %d, %q", row.ExitCode, row.Error)
	}
}

// What a container that is being made needs is in use.
func TestRemovedWhileBeingMade(t *testing.T) {
	l := openLab(t)
	l.network(&api.LocalNetwork{Name: "one"})
	tried := false
	l.cfg.FaultPoint = func(point string) {
		if point != "create.row" {
			return
		}
		tried = true
		if _, err := l.RemoveNetwork(l.ctx(), "one"); !errors.Is(err, ErrPrecondition) {
			t.Errorf("its network is removed: %v", err)
		}
		if _, err := l.Images().Remove(l.ctx(), "box:1", false); !errors.Is(err, image.ErrInUse) {
			t.Errorf("its image is removed: %v", err)
		}
	}
	l.create(on("", at("one")))
	if !tried {
		t.Error("nothing was tried")
	}
}

// A line of /etc/group may be of any length, and hides none behind it.
func TestManyMembers(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"passwd": "me:x:1000:1000::/home:/bin/sh\n", "group": "all:x:5:" + strings.Repeat("somebody,", 20000) + "me\nmine:x:6:me\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	u, err := lookupUser(root, "me", []string{"mine"})
	if err != nil || !slices.Contains(u.Groups, 5) || !slices.Contains(u.Groups, 6) {
		t.Errorf("groups %v, %v", u.Groups, err)
	}
}

// A power cut leaves files empty that were not synced, as a service's task's are not. Nothing of such a container stays.
func TestTornTask(t *testing.T) {
	l := openLab(t)
	row, err := l.Create(l.ctx(), CreateOptions{Request: request("task.1", "sleep 1000"), TaskID: "t1"})
	if err != nil {
		t.Fatal(err)
	}
	whole := l.create(request("whole", "true"))
	l.close()
	for _, name := range []string{requestFile, imageFile, createdFile} {
		if err := os.Truncate(filepath.Join(l.rowDir(row.Id), name), 0); err != nil {
			t.Fatal(err)
		}
	}
	l.open()
	for _, trace := range l.traces() {
		if strings.Contains(trace, row.Id) {
			t.Errorf("left behind: %s", trace)
		}
	}
	l.row(whole)
}
