//go:build linux

package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tested are the packages whose own tests run inside, those that take longest first. No two have the same last name.
var tested = []string{
	"engine", "overlay", "engine/runtime", "node", "engine/network", "engine/cgroup", "engine/snapshot", "engine/image", "overlay/gossip", "agent",
	"engine/volume", "engine/volume/plugin", "engine/seccomp", "engine/resolver", "engine/image/layer", "engine/content", "engine/log",
	"engine/archive", "engine/fstree", "engine/userns", "engine/ps",
	"overlay/netns", "overlay/netstate", "overlay/nft", "overlay/dns", "nameserver", "agent/container", "agent/db",
}

// machinesAtOnce share the packages: what one of them waits for, another has the processor.
const machinesAtOnce = 2

// TestOnVersion2 runs tests on a kernel with cgroups of version 2 alone. SHOAL_VM_PACKAGE chooses some of them by package,
// SHOAL_VM_RUN by name, SHOAL_VM_SCRIPT runs a shell script before them.
func TestOnVersion2(t *testing.T) {
	needVM(t)
	k, root := newSystem(t)
	addTests(t, root, chosen())
	cfg := Config{Kernel: k.image(), Root: pack(t, root), Memory: 1536, CPUs: 2}
	waiting := make(chan string, len(tested))
	for _, p := range chosen() {
		waiting <- p
	}
	close(waiting)
	var wg sync.WaitGroup
	for i := range machinesAtOnce {
		wg.Go(func() { work(t, cfg, fmt.Sprintf("engine%d", i+1), waiting) })
	}
	wg.Wait()
}

// chosen are the packages that SHOAL_VM_PACKAGE names.
func chosen() []string {
	only := os.Getenv("SHOAL_VM_PACKAGE")
	if only == "" {
		return tested
	}
	return slices.DeleteFunc(slices.Clone(tested), func(p string) bool { return !slices.Contains(strings.Split(only, ","), p) })
}

// testDisk makes /dev/nullb0, which holds nothing, takes a millisecond for everything and does one thing after the other: those who
// want more of it than there is have to share it.
const testDisk = "modprobe null_blk nr_devices=1 gb=1 queue_mode=2 irqmode=2 completion_nsec=1000000 submit_queues=1 hw_queue_depth=1 || exit 1\n"

// asUsual: bridges pass packets through the host's rules, as on hosts that know Docker or Kubernetes.
const asUsual = "modprobe br_netfilter || exit 1\n"

// work has one machine test what is waiting.
func work(t *testing.T, cfg Config, name string, waiting <-chan string) {
	cfg.Name = name
	m, err := boot(t, cfg)
	if err != nil {
		t.Error(err)
		return
	}
	script := testDisk + asUsual + "uname -r; cat /sys/fs/cgroup/cgroup.controllers; ! grep '^cgroup ' /proc/mounts\n" + os.Getenv("SHOAL_VM_SCRIPT")
	if out, err := m.Output(t.Context(), script); err != nil {
		t.Error(err)
		return
	} else {
		t.Log(out)
	}
	for p := range waiting {
		t.Run(p, func(t *testing.T) { runInside(t, m, p) })
	}
}

// addTests compiles the tests of packages and puts them where runInside finds them, with the shim, because there is no Go inside.
func addTests(t *testing.T, root tree, packages []string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"test", "-c", "-ldflags", "-s -w", "-o", dir + "/"}
	for _, p := range packages {
		args = append(args, "./"+p)
	}
	if len(packages) > 0 {
		build(t, args...)
	}
	shim := filepath.Join(dir, "shoal-shim")
	build(t, "build", "-ldflags", "-s -w", "-o", shim, "./cmd/shoal-shim")
	root.program("tests/shoal-shim", shim)
	for _, p := range packages {
		root.dir("tests/" + p)
		root.program("tests/"+p+"/test", filepath.Join(dir, filepath.Base(p)+".test"))
		if data := filepath.Join(repo, p, "testdata"); exists(data) {
			if err := root.all("tests/"+p+"/testdata", data); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// interesting are the lines of a verbose test that a summary shows: what failed and what was skipped, with the reason.
var interesting = regexp.MustCompile(`(?m)^\s*--- (FAIL|SKIP).*$|^.*SKIPPED.*$|^panic.*$|^.*NOT TESTED.*$`)

func runInside(t *testing.T, m *Machine, p string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	var out bytes.Buffer
	began := time.Now()
	const env = "SHOAL_SHIM=/tests/shoal-shim SHOAL_TEST_DISK=/dev/nullb0 SHOAL_TEST_RAFT_TICK=2s"
	err := m.Run(ctx, fmt.Sprintf("cd /tests/%s && %s ./test -test.v -test.timeout=18m -test.run='%s'", p, env, os.Getenv("SHOAL_VM_RUN")), &out)
	text := out.String()
	t.Logf("%s: %d passed in %s\n%s", p, strings.Count(text, "--- PASS"), time.Since(began).Round(time.Second),
		strings.Join(interesting.FindAllString(text, -1), "\n"))
	if err != nil {
		t.Errorf("%v\n%s", err, failures(text))
	}
}

// failures is the output of those tests that have failed, or the end of all when none says so.
func failures(text string) string {
	const most = 60 << 10
	var out strings.Builder
	for _, test := range regexp.MustCompile(`(?m)^=== RUN   [^/\n]+$`).Split(text, -1) {
		if regexp.MustCompile(`(?m)^\s*--- FAIL|^panic:|^fatal error:`).MatchString(test) {
			out.WriteString(test)
		}
	}
	if out.Len() == 0 {
		out.WriteString(text)
	}
	return out.String()[max(0, out.Len()-most):]
}
