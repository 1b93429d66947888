//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/proto/api"
)

// operations are what TestInterrupted interrupts, by name.
func operations() map[string]operation {
	all := map[string]operation{}
	for _, group := range []map[string]operation{lifeOperations(), changeOperations(), fileOperations(), imageOperations(), storeOperations()} {
		for name, op := range group {
			all[name] = op
		}
	}
	return all
}

// patient ends with 7 when it is told to, once it is ready: a first process without a handler never sees the signal.
const patient = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done"

func running(l *lab) { l.ready(request("one", patient)) }

func (l *lab) state(ref string) api.ContainerState { return l.row(ref).State }

func quiet(*api.ImageProgress) {}

func lifeOperations() map[string]operation {
	stop := func(ctx context.Context, e *Engine, _ func(string)) error { return e.Stop(ctx, "one", nil, "") }
	is := func(state api.ContainerState) func(*lab) bool {
		return func(l *lab) bool { return l.state("one") == state }
	}
	return map[string]operation{
		"pause": {
			prepare:  running,
			do:       func(ctx context.Context, e *Engine, _ func(string)) error { return e.Pause(ctx, "one") },
			happened: is(api.ContainerState_PAUSED),
		},
		"unpause": {
			prepare: func(l *lab) {
				running(l)
				l.must(l.Pause(l.ctx(), "one"))
			},
			do:       func(ctx context.Context, e *Engine, _ func(string)) error { return e.Unpause(ctx, "one") },
			happened: is(api.ContainerState_CONTAINER_RUNNING),
		},
		"stop": {
			prepare: func(l *lab) {
				r := withMounts("one", patient, volumeAt("named", "/data"))
				r.NetworkMode = NetworkBridge
				l.ready(r)
			},
			do: stop,
			happened: func(l *lab) bool {
				row := l.row("one")
				if row.State == api.ContainerState_EXITED && row.ExitCode != 7 {
					l.t.Errorf("exit code %d, %s", row.ExitCode, row.Error)
				}
				return row.State == api.ContainerState_EXITED
			},
		},
		"stop and remove": {
			prepare: func(l *lab) {
				r := withMounts("one", patient, volumeAt("", "/data"))
				r.AutoRemove, r.NetworkMode = true, NetworkBridge
				l.ready(r)
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				if err := e.Stop(ctx, "one", nil, ""); err != nil {
					return err
				}
				_, err := e.Wait(ctx, "one", WaitRemoved)
				if errors.Is(err, ErrNotFound) {
					return nil
				}
				return err
			},
			happened: func(l *lab) bool { return l.gone("one") && l.anonymous() == 0 },
			without:  []string{"release."},
		},
		"restart": {
			prepare: func(l *lab) {
				running(l)
				l.before = l.row("one").Pid
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error { return e.Restart(ctx, "one", nil, "") },
			happened: func(l *lab) bool { // whoever has begun it finishes it
				l.until("one", "another run", func(row *api.Container) bool {
					return row.State == api.ContainerState_CONTAINER_RUNNING && row.Pid != l.before
				})
				enginetest.Until(l.t, "it is done", func() bool {
					_, err := os.Stat(filepath.Join(l.rowDir(l.row("one").Id), unfinishedFile))
					return err != nil
				})
				return true
			},
			without: []string{"release.", "start."},
		},
		"remove": {
			prepare: func(l *lab) {
				r := withMounts("one", patient, volumeAt("", "/data"), volumeAt("named", "/named"))
				r.NetworkMode = NetworkBridge
				l.ready(r)
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error { return e.Remove(ctx, "one", true, true) },
			happened: func(l *lab) bool {
				if gone := l.gone("one"); gone != (l.anonymous() == 0) {
					l.t.Errorf("the container is gone: %v, its volumes: %d", gone, l.anonymous())
				}
				return l.gone("one")
			},
			without: []string{"release."},
		},
		"health check": {
			prepare: func(l *lab) {
				r := request("one", "sleep 1000")
				r.Spec.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "sleep", "1001"}, Interval: durationpb.New(time.Millisecond), Timeout: durationpb.New(time.Hour)}
				l.create(r)
			},
			do: func(ctx context.Context, e *Engine, point func(string)) error {
				if err := e.Start(ctx, "one"); err != nil {
					return err
				}
				if err := until(ctx, func() bool { return e.checking("one") == 1 }); err != nil {
					return err
				}
				point("health.checking")
				return nil
			},
			happened: func(l *lab) bool { // one that hangs does not add to the next daemon's
				enginetest.Until(l.t, "one check is at work", func() bool {
					last, _, stop := l.journal.follow()
					stop()
					begun := slices.ContainsFunc(last, func(ev *api.Event) bool { return strings.HasPrefix(ev.Action, "exec_start") })
					return begun && l.checking("one") == 1
				})
				return true
			},
			without: []string{"start.", "exec."},
		},
		"exec": {
			prepare: running,
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				p, err := e.Exec(ctx, &api.ExecOpen{Ref: "one", Command: []string{"sh", "-c", "sleep 0.1; echo x >/done; exit 3"}})
				if err != nil {
					return err
				}
				exit, err := p.Wait(ctx)
				if err == nil && exit.Code != 3 {
					err = errors.New("exit code " + strconv.Itoa(exit.Code))
				}
				return err
			},
			happened: func(l *lab) bool { // it goes on without the daemon
				enginetest.Until(l.t, "the command is done", func() bool { return l.exec("one", "ls /") != "" && strings.Contains(l.exec("one", "ls /"), "done") })
				return true
			},
		},
	}
}

// checking counts the health checks of a container that are at work.
func (e *Engine) checking(ref string) (n int) {
	c, err := e.find(ref)
	if err != nil {
		return 0
	}
	pids, _ := e.cfg.Runtime.Pids(e.ctx, c.id)
	for _, p := range pids {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); strings.Contains(string(line), "1001") {
			n++
		}
	}
	return n
}

// until is enginetest.Until for a process that is to be killed.
func until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) gone(ref string) bool {
	_, err := l.Inspect(l.ctx(), ref)
	return errors.Is(err, ErrNotFound)
}

// anonymous counts the volumes that nobody named.
func (l *lab) anonymous() (n int) {
	volumes, err := l.VolumeStore().List(l.ctx())
	l.must(err)
	for _, v := range volumes {
		if v.Anonymous {
			n++
		}
	}
	return n
}

func changeOperations() map[string]operation {
	onNetwork := func(l *lab, names ...string) {
		_, err := l.CreateNetwork(l.ctx(), &api.LocalNetwork{Name: "second", Options: map[string]string{"com.docker.network.bridge.name": "second0"}})
		l.must(err)
		r := request("one", patient)
		r.NetworkMode = ""
		for _, n := range names {
			r.Networks = append(r.Networks, &api.LocalNetworkAttachment{Network: n})
		}
		l.run(r)
	}
	isOn := func(l *lab) bool {
		l.wantInside("one")
		return slices.ContainsFunc(l.row("one").Endpoints, func(ep *api.NetworkEndpoint) bool { return ep.Network == "second" })
	}
	return map[string]operation{
		"rename": {
			prepare: running,
			do:      func(ctx context.Context, e *Engine, _ func(string)) error { return e.Rename(ctx, "one", "two") },
			happened: func(l *lab) bool {
				if l.gone("one") == l.gone("two") {
					l.t.Error("it has no name or both")
				}
				return l.gone("one")
			},
		},
		"update": {
			prepare: running,
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				return e.Update(ctx, &api.UpdateContainerRequest{Ref: "one", Limits: &api.ContainerLimits{Pids: 77}, Restart: &api.LocalRestartPolicy{Name: "always"}})
			},
			happened: func(l *lab) bool {
				row := l.row("one")
				updated, want := row.Spec.GetLimits().GetPids() == 77, "max"
				if updated {
					want = "77"
				}
				if got := l.pidsMax(row.Id); got != want || updated != (row.Restart.GetName() == "always") {
					l.t.Errorf("row %v, %v; the kernel has %s", row.Spec.Limits, row.Restart, got)
				}
				return updated
			},
		},
		"connect": {
			prepare: func(l *lab) { onNetwork(l, NetworkBridge) },
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				return e.Connect(ctx, "one", &api.LocalNetworkAttachment{Network: "second"})
			},
			happened: isOn,
		},
		"disconnect": {
			prepare: func(l *lab) { onNetwork(l, NetworkBridge, "second") },
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				return e.Disconnect(ctx, "one", "second", false)
			},
			happened: func(l *lab) bool { return !isOn(l) },
		},
		"run on a macvlan": {
			prepare: func(l *lab) {
				attrs := netlink.NewLinkAttrs()
				attrs.Name = "parent0"
				if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
					l.t.Fatal(err)
				}
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				n := &api.LocalNetwork{Name: "second", Driver: "macvlan", Options: map[string]string{"parent": "parent0"}}
				if _, err := e.CreateNetwork(ctx, n); err != nil && !errors.Is(err, network.ErrExists) {
					return err
				}
				if _, err := e.Inspect(ctx, "one"); errors.Is(err, ErrNotFound) {
					r := request("one", patient)
					r.NetworkMode = "second"
					if _, err := e.Create(ctx, CreateOptions{Request: r}); err != nil {
						return err
					}
				}
				return e.Start(ctx, "one")
			},
			happened: func(l *lab) bool {
				if l.gone("one") || l.state("one") != api.ContainerState_CONTAINER_RUNNING {
					return false
				}
				return strings.Contains(l.exec("one", "ip -o link show eth0"), "UP")
			},
			without: []string{"create.", "start."},
		},
		"run": {
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				if _, err := e.Inspect(ctx, "one"); errors.Is(err, ErrNotFound) {
					r := withMounts("one", patient, volumeAt("", "/etc"), &api.Mount{Type: api.Mount_VOLUME, Source: "memory", Target: "/m", DriverOpts: map[string]string{"type": "tmpfs"}})
					r.NetworkMode = NetworkBridge
					if _, err := e.Create(ctx, CreateOptions{Request: r}); err != nil {
						return err
					}
				}
				return e.Start(ctx, "one")
			},
			happened: func(l *lab) bool { return !l.gone("one") && l.state("one") == api.ContainerState_CONTAINER_RUNNING },
			without:  []string{"create.", "start."}, // TestKilledAtEveryPoint
		},
	}
}

// pidsMax is how many processes the kernel lets a container have.
func (l *lab) pidsMax(id string) string {
	for _, dir := range enginetest.Cgroups(filepath.Base(l.dir) + "/" + id) {
		if b, err := os.ReadFile(filepath.Join(dir, "pids.max")); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

func fileOperations() map[string]operation {
	const size = 100 << 10
	content := strings.Repeat("x", size)
	stopped := func(l *lab) {
		l.create(withMounts("one", patient, volumeAt("named", "/data"), &api.Mount{Type: api.Mount_BIND, Source: l.dir, Target: "/bind"}))
	}
	into := func(dir, name string) func(context.Context, *Engine, func(string)) error {
		return func(ctx context.Context, e *Engine, point func(string)) error {
			return e.CopyTo(ctx, &api.CopyToRequest{Ref: "one", Path: dir}, &slowly{Reader: bytes.NewReader(tarOf(name, content)), point: point})
		}
	}
	has := func(path string) func(*lab) bool {
		return func(l *lab) bool {
			var b bytes.Buffer
			err := l.CopyFrom(l.ctx(), "one", path, false, &b)
			return err == nil && entries(l.t, &b)[filepath.Base(path)] == content
		}
	}
	alone := func(dir, name string) func(*lab) bool { // whole, or not there at all
		return func(l *lab) bool {
			var b bytes.Buffer
			if err := l.CopyFrom(l.ctx(), "one", dir+"/.", false, &b); err != nil {
				l.t.Fatal(err)
			}
			for n, body := range entries(l.t, &b) {
				if n != "./" && (n != "./"+name || body != content) {
					l.t.Errorf("%s in %s has %d bytes, want %d of %s alone", n, dir, len(body), size, name)
				}
			}
			return has(dir + "/" + name)(l)
		}
	}
	read := func(*lab) bool { return true } // nothing is to happen
	return map[string]operation{
		"compress a log":         compressOperation(),
		"cp into a volume":       {prepare: stopped, do: into("/data", "f"), happened: alone("/data", "f")},
		"cp into a mounted file": {prepare: running, do: into("/etc", "hosts"), happened: has("/etc/hosts")},
		"cp out": {
			prepare: stopped, happened: read,
			do: func(ctx context.Context, e *Engine, point func(string)) error {
				return e.CopyFrom(ctx, "one", "/etc", false, &slowly{Writer: io.Discard, point: point})
			},
		},
		"export": {
			prepare: stopped, happened: read,
			do: func(ctx context.Context, e *Engine, point func(string)) error { // the view is what matters, cp cuts streams
				return e.Export(ctx, "one", io.Discard)
			},
		},
		"diff": {
			prepare: stopped, happened: read,
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				_, err := e.Diff(ctx, "one")
				return err
			},
		},
	}
}

func imageOperations() map[string]operation {
	has := func(ref string) func(*lab) bool {
		return func(l *lab) bool {
			_, err := l.Images().Get(l.ctx(), ref)
			return err == nil
		}
	}
	imported := func(ctx context.Context, e *Engine, point func(string)) error {
		_, err := e.Images().Import(ctx, &slowly{Reader: bytes.NewReader(tarOf("f", "x")), point: point}, image.ImportOptions{Ref: "two:1"}, quiet)
		return err
	}
	remove := func(ctx context.Context, e *Engine, _ func(string)) error {
		_, err := e.Images().Remove(ctx, "two:1", false)
		return err
	}
	archive := func(e *Engine) string { return filepath.Join(filepath.Dir(e.cfg.DataDir), "archive.tar") }
	here := func(l *lab) { l.must(imported(l.ctx(), l.Engine, func(string) {})) }
	return map[string]operation{
		"commit": {
			prepare: func(l *lab) {
				running(l)
				l.exec("one", "echo x >/f")
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				_, err := e.Commit(ctx, &api.CommitRequest{Ref: "one", Image: "two:1", Pause: true})
				return err
			},
			happened: func(l *lab) bool {
				if state := l.state("one"); state != api.ContainerState_CONTAINER_RUNNING {
					l.t.Errorf("the container is %s", stateName(state))
				}
				return has("two:1")(l)
			},
		},
		"import": {do: imported, happened: has("two:1")},
		"load": {
			prepare: func(l *lab) {
				here(l)
				f, err := os.Create(archive(l.Engine))
				l.must(err)
				l.must(errors.Join(l.Images().Save(l.ctx(), []string{"two:1"}, f), f.Close(), remove(l.ctx(), l.Engine, nil)))
			},
			do: func(ctx context.Context, e *Engine, point func(string)) error {
				f, err := os.Open(archive(e))
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = e.Images().Load(ctx, f, quiet)
				return err
			},
			happened: has("two:1"),
			without:  []string{"image.written", "image.blob"},
		},
		"pull": {
			prepare: func(l *lab) { l.pulling = true },
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				_, err := e.Images().Pull(ctx, os.Getenv(interruptRegistry)+"/two:1", image.PullOptions{}, quiet)
				return err
			},
			happened: func(l *lab) bool { return has(os.Getenv(interruptRegistry) + "/two:1")(l) },
		},
		"tag": {
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				return e.Images().Tag(ctx, "box:1", "two:1")
			},
			happened: has("two:1"),
		},
		"rmi": {prepare: here, do: remove, happened: func(l *lab) bool { return !has("two:1")(l) }},
	}
}

func storeOperations() map[string]operation {
	hasVolume := func(l *lab) bool {
		_, err := l.VolumeStore().Get(l.ctx(), "v")
		return err == nil
	}
	makeVolume := func(ctx context.Context, e *Engine, _ func(string)) error {
		_, err := e.CreateVolume(ctx, &api.Volume{Name: "v"})
		return err
	}
	hasNetwork := func(l *lab) bool {
		_, err := l.Networks().Get("n")
		return err == nil
	}
	makeNetwork := func(ctx context.Context, e *Engine, _ func(string)) error {
		_, err := e.CreateNetwork(ctx, &api.LocalNetwork{Name: "n"})
		return err
	}
	none := func(string) {}
	return map[string]operation{
		"volume create": {do: makeVolume, happened: hasVolume},
		"volume rm": {
			prepare: func(l *lab) {
				l.must(makeVolume(l.ctx(), l.Engine, none))
				l.must(os.WriteFile(filepath.Join(l.dir, "data/volumes/v/_data/f"), []byte("x"), 0o600))
			},
			do:       func(ctx context.Context, e *Engine, _ func(string)) error { return e.RemoveVolume(ctx, "v", false) },
			happened: func(l *lab) bool { return !hasVolume(l) },
		},
		"network create": {do: makeNetwork, happened: hasNetwork},
		"network rm": {
			prepare: func(l *lab) { // with its bridge there
				l.must(makeNetwork(l.ctx(), l.Engine, none))
				r := request("one", "true")
				r.NetworkMode = "n"
				l.ended(l.run(r))
				l.must(l.Remove(l.ctx(), "one", false, false))
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				_, err := e.RemoveNetwork(ctx, "n")
				return err
			},
			happened: func(l *lab) bool { return !hasNetwork(l) },
		},
		"prune": {
			prepare: func(l *lab) {
				l.must(errors.Join(makeVolume(l.ctx(), l.Engine, none), makeNetwork(l.ctx(), l.Engine, none)))
				l.ended(l.run(withMounts("one", "echo x >/f", volumeAt("", "/data"))))
				_, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "one"})
				l.must(err)
			},
			do: func(ctx context.Context, e *Engine, _ func(string)) error {
				_, err := e.Prune(ctx, &api.PruneRequest{Containers: true, Images: true, AllVolumes: true, Networks: true})
				return err
			},
			happened: func(l *lab) bool {
				images, err := l.Images().List(l.ctx())
				l.must(err)
				return l.gone("one") && !hasVolume(l) && !hasNetwork(l) && l.anonymous() == 0 && len(images) == 1
			},
			without: []string{"release."},
		},
	}
}
