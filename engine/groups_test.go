//go:build linux

package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/engine/cgroup"
	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// groupFile is a file of a group of this machine, in the hierarchy that has it.
func groupFile(t *testing.T, path, name string) string {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		found, _ := filepath.Glob(filepath.Join(pattern, path, name))
		if len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("%s has no %s", path, name)
	return ""
}

const crowd = "for i in $(seq 40); do sleep 1000 & done; echo all were made"

// A limit on a group is a limit on all containers in it, and stays when they are gone.
func TestCgroupParent(t *testing.T) {
	l := openLab(t)
	r := func(script string) *api.CreateContainerRequest {
		r := request("", script)
		r.Spec.CgroupParent = "/team/one/"
		return r
	}
	first := l.run(r("sleep 1000"))
	mine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", l.row(first).Pid))
	if want := filepath.Join("/", filepath.Base(l.dir), "team/one", first); err != nil || !strings.Contains(string(mine), ":"+want+"\n") {
		t.Errorf("it is in\n%s\nwant %s, %v", mine, want, err)
	}
	parent := filepath.Join(filepath.Base(l.dir), "team/one")
	limit := groupFile(t, parent, "pids.max")
	if err := os.WriteFile(limit, []byte("20"), 0); err != nil {
		t.Fatal(err)
	}
	second := l.run(r(crowd))
	l.ended(second)
	if got := l.logs(second); strings.Contains(got, "all were made") || !strings.Contains(got, "fork") {
		t.Errorf("forty processes where twenty are allowed: %q", got)
	}
	for _, id := range []string{first, second} {
		if err := l.Remove(l.ctx(), id, true, true); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(limit); err != nil || string(kept) != "20\n" {
		t.Errorf("without containers the group's limit is %q, %v", kept, err)
	}
	removeGroups(t, parent)
}

// removeGroups removes a path that --cgroup-parent made, which stays otherwise.
func removeGroups(t *testing.T, path string) {
	t.Helper()
	tree, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	g, err := tree.Group(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCgroupParentRefused(t *testing.T) {
	l := openLab(t)
	for parent, want := range map[string]string{
		"..": "leads out", "../other": "leads out", "/../../x": "leads out", "a/../../b": "leads out", "a/..": "leads out",
		"a b": "not the name of a control group", "a\n": "not the name", "cgroup.procs": "not the name", "-x": "not the name", "a/.x": "not the name",
		strings.Repeat("a", 64): "the group of a container", strings.Repeat("x/", 200): "longer than",
	} {
		r := request("", "true")
		r.Spec.CgroupParent = parent
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", parent, err, want)
		}
	}
}

// Files by name limit a container of any runtime, from its start and from an update on.
func TestCgroupConf(t *testing.T) {
	l := openLab(t)
	for _, runtime := range []string{"", "runc"} {
		if _, err := exec.LookPath(runtime); runtime != "" && err != nil {
			t.Skip("SKIPPED: with another runtime: `make deps` installs Debian's runc")
		}
		r := request("", crowd)
		r.Spec.Runtime = runtime
		r.Spec.Limits = &api.ContainerLimits{Conf: map[string]string{"pids.max": "20"}}
		id := l.run(r)
		l.ended(id)
		if got := l.logs(id); strings.Contains(got, "all were made") || !strings.Contains(got, "fork") {
			t.Errorf("runtime %q: forty processes where twenty are allowed: %q", runtime, got)
		}
	}
	r := request("", "read x; "+crowd)
	r.Spec.OpenStdin = true
	r.Spec.Limits = &api.ContainerLimits{Conf: map[string]string{"cpu.idle": "1"}}
	id := l.run(r)
	update := func(limits *api.ContainerLimits) error {
		return l.Update(l.ctx(), &api.UpdateContainerRequest{Ref: id, Limits: limits})
	}
	if err := update(&api.ContainerLimits{Conf: map[string]string{"pids.max": "20"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"cpu.idle": "1", "pids.max": "20"}, l.row(id).Spec.Limits.Conf); diff != "" {
		t.Errorf("files after an update (-want +got):\n%s", diff)
	}
	path := filepath.Join(filepath.Base(l.dir), id)
	for name, want := range map[string]string{"cpu.idle": "1\n", "pids.max": "20\n"} {
		if got, err := os.ReadFile(groupFile(t, path, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	for want, limits := range map[string]*api.ContainerLimits{
		"the limit that is given with --pids-limit": {Pids: 9},
		"moves processes":       {Conf: map[string]string{"cgroup.procs": "1"}},
		"does not take":         {Conf: map[string]string{"pids.max": "lots"}},
		"no nothing controller": {Conf: map[string]string{"nothing.max": "1"}},
	} {
		if err := update(limits); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	if got := l.row(id).Spec.Limits.Conf["pids.max"]; got != "20" {
		t.Errorf("after updates that were refused pids.max is %s", got)
	}
	l.reopen()
	if err := l.Restart(l.ctx(), id, new(time.Duration), ""); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(groupFile(t, path, "pids.max")); err != nil || string(got) != "20\n" {
		t.Errorf("after a restart pids.max is %q, %v", got, err)
	}
	for range 2 { // once more is no error: a daemon that dies has it done again
		if err := update(&api.ContainerLimits{Conf: map[string]string{"pids.max": "", "cpu.idle": ""}}); err != nil {
			t.Fatal(err)
		}
	}
	given := func(when, pids string) {
		for name, want := range map[string]string{"cpu.idle": "0\n", "pids.max": pids} {
			if got, err := os.ReadFile(groupFile(t, path, name)); err != nil || string(got) != want {
				t.Errorf("%s %s is %q, %v, want %q", when, name, got, err, want)
			}
		}
		if conf := l.row(id).Spec.Limits.Conf; len(conf) > 0 {
			t.Errorf("%s the row has %v", when, conf)
		}
	}
	given("given up,", "max\n")
	if err := update(&api.ContainerLimits{Pids: 9, Conf: map[string]string{"pids.max": ""}}); err != nil {
		t.Fatal(err)
	}
	given("left to a flag,", "9\n")
	if err := update(&api.ContainerLimits{Pids: -1}); err != nil {
		t.Fatal(err)
	}
	if err := l.Restart(l.ctx(), id, new(time.Duration), ""); err != nil {
		t.Fatal(err)
	}
	given("after a restart", "max\n")
	if left := enginetest.Cgroups(filepath.Base(l.dir) + "/*"); slices.ContainsFunc(left, func(g string) bool { return strings.Contains(g, "fresh") }) {
		t.Errorf("left groups %v", left)
	}
	r = request("", "true")
	r.Spec.Limits = &api.ContainerLimits{Conf: map[string]string{"pids.max": ""}}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); err == nil || !strings.Contains(err.Error(), "has no value") {
		t.Errorf("a file without a value: %v", err)
	}
}

// What the specification has a field for is in that field: other runtimes read it there.
func TestCgroupConfInTheBundle(t *testing.T) {
	l := openLab(t)
	r := request("", "sleep 1000")
	r.Spec.Limits = &api.ContainerLimits{Conf: map[string]string{"pids.max": "40"}}
	config, err := l.cfg.Runtime.Spec(l.ctx(), l.run(r))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"pids.max": "40"}, config.Linux.Resources.Unified); diff != "" {
		t.Errorf("unified (-want +got):\n%s", diff)
	}
}

// Two huge pages where one is allowed kill the container that uses them.
func TestHugePagesOfAContainer(t *testing.T) {
	l := openLab(t)
	enginetest.HugePages(t, 4)
	tree, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	name, value := "hugetlb.2MB.max", "2M"
	if err := tree.CheckConf(name, value); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	if text, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(text), ",hugetlb") {
		name = "hugetlb.2MB.limit_in_bytes"
	}
	r := request("", "mkdir /h && mount -t hugetlbfs -o pagesize=2M none /h && fallocate -l 2097152 /h/one && echo one; fallocate -l 4194304 /h/two && echo two")
	r.Spec.CapAdd, r.Spec.Limits = []string{"SYS_ADMIN"}, &api.ContainerLimits{Conf: map[string]string{name: value}}
	id := l.run(r)
	l.ended(id)
	if got := l.logs(id); !strings.Contains(got, "one\n") || strings.Contains(got, "two\n") {
		t.Errorf("got %q, want one page and not two", got)
	}
}
