//go:build linux

package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// byHand are commands as a user types them, on a host with control groups of version 2, and what they must say. Each limit is
// exceeded, and the kernel acts.
var byHand = []struct{ do, want string }{
	{"shoal run --rm box sh -c 'cat /proc/self/cgroup'", `^0::/$`},
	{"shoal run --rm --memory 64m --cpus 0.5 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'", `^67108864\n50000 100000\n9$`},
	{"shoal run --name oom --memory 16m box sh -c 'x=a; while true; do x=$x$x; done'; echo $?; shoal inspect --format '{{.State.OOMKilled}}' oom", `137\ntrue$`},
	{"shoal run --rm --pids-limit 5 box sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'; true", `can't fork`},
	{"shoal run --rm box sh -c 'mknod /d b 254 0 && cat /d'; echo $?", `Operation not permitted\n1$`},
	{"shoal run -d --name busy --cpus 0.2 box sh -c 'while :; do :; done'", `^[0-9a-f]{64}$`},
	{"for i in $(seq 100); do grep -q 'nr_throttled [1-9]' /sys/fs/cgroup/shoal/$(shoal ps -q --no-trunc)/cpu.stat && echo throttled && break; sleep 0.1; done", `^throttled$`},
	{"shoal exec busy sh -c 'cat /proc/self/cgroup'", `^0::/$`},
	{"shoal pause busy; shoal ps --format '{{.Status}}'; cat /sys/fs/cgroup/shoal/$(shoal ps -q --no-trunc)/cgroup.events", `(?s)Paused.*frozen 1`},
	{"shoal unpause busy; shoal ps --format '{{.Status}}'", `Up [^()]*$`},
	{"shoal update --memory 32m --memory-swap 32m --cpus 0.3 busy; shoal exec busy sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max'", `33554432\n30000 100000$`},
	{"shoal stats --no-stream --format '{{.MemUsage}}' busy", `/ 32MiB`},
	{"shoal rm -f busy oom; ls -d /sys/fs/cgroup/shoal/*/; true", `No such file`},
}

// TestByHand is the command line's part of what TestOnVersion2 tests below it.
func TestByHand(t *testing.T) {
	needVM(t)
	k, root := newSystem(t)
	root.program("bin/shoal", bin+"/shoal")
	root.copy("box.tar", boxImage(t), 0o644)
	m := start(t, Config{Name: "hand", Kernel: k.image(), Root: pack(t, root), Memory: 768, CPUs: 2})
	began := time.Now()
	output(t, m, "%s", startDaemon)
	output(t, m, "shoal image import --change 'ENV PATH=/bin' - box </box.tar")
	for _, c := range byHand {
		out := strings.TrimSpace(output(t, m, "exec 2>&1; %s", c.do))
		if !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("%s\n says %q\nwant %q", c.do, out, c.want)
		}
	}
	t.Logf("%d commands in %s", len(byHand), time.Since(began).Round(time.Second))
}

// boxImage is busybox's shell, which finds its commands in itself.
func boxImage(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hosts.Rootfs(busybox, "bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "box.tar")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
