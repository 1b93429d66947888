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
	"testing"
	"time"
)

// tested are the packages whose own tests run inside. No two have the same last name.
var tested = []string{
	"engine/cgroup", "engine/seccomp", "engine/runtime", "engine/network", "engine/resolver", "engine/volume", "engine/snapshot", "engine/image/layer",
	"engine/archive", "engine/fstree", "engine/userns", "engine/ps", "engine",
	"overlay/netns", "overlay/netstate", "overlay/nft", "overlay/dns", "overlay",
}

// TestOnVersion2 runs tests on a kernel with cgroups of version 2 alone. SHOAL_VM_RUN chooses some of them by name,
// SHOAL_VM_PACKAGE by package, SHOAL_VM_SCRIPT runs
// a shell script before them.
func TestOnVersion2(t *testing.T) {
	needVM(t)
	k, root := newSystem(t)
	tests := t.TempDir()
	args := []string{"test", "-c", "-ldflags", "-s -w", "-o", tests + "/"}
	for _, p := range tested {
		args = append(args, "./"+p)
	}
	build(t, args...)
	shim := filepath.Join(tests, "shoal-shim")
	build(t, "build", "-ldflags", "-s -w", "-o", shim, "./cmd/shoal-shim")
	root.program("tests/shoal-shim", shim)
	for _, p := range tested {
		root.dir("tests/" + p)
		root.program("tests/"+p+"/test", filepath.Join(tests, filepath.Base(p)+".test"))
		if data := filepath.Join(repo, p, "testdata"); exists(data) {
			if err := root.all("tests/"+p+"/testdata", data); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := start(t, Config{Name: "engine", Kernel: k.image(), Root: pack(t, root), Memory: 1536, CPUs: 2})
	t.Log(output(t, m, "uname -r; cat /sys/fs/cgroup/cgroup.controllers; ! grep '^cgroup ' /proc/mounts"))
	if script := os.Getenv("SHOAL_VM_SCRIPT"); script != "" {
		t.Log(output(t, m, "%s", script))
	}
	for _, p := range tested {
		t.Run(p, func(t *testing.T) { runInside(t, m, p) })
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// interesting are the lines of a verbose test that a summary shows: what failed and what was skipped, with the reason.
var interesting = regexp.MustCompile(`(?m)^\s*--- (FAIL|SKIP).*$|^.*SKIPPED.*$|^panic.*$|^.*NOT TESTED.*$`)

func runInside(t *testing.T, m *Machine, p string) {
	if only := os.Getenv("SHOAL_VM_PACKAGE"); only != "" && !slices.Contains(strings.Split(only, ","), p) {
		t.Skip("SKIPPED: not chosen by SHOAL_VM_PACKAGE")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out bytes.Buffer
	began := time.Now()
	err := m.Run(ctx, fmt.Sprintf("cd /tests/%s && SHOAL_SHIM=/tests/shoal-shim SHOAL_TEST_DISK=/dev/vda ./test -test.v -test.timeout=9m -test.run='%s'", p, os.Getenv("SHOAL_VM_RUN")), &out)
	text := out.String()
	t.Logf("%s: %d passed in %s\n%s", p, strings.Count(text, "--- PASS"), time.Since(began).Round(time.Second),
		strings.Join(interesting.FindAllString(text, -1), "\n"))
	if err != nil {
		t.Errorf("%v\n%s", err, text[max(0, len(text)-60<<10):])
	}
}
