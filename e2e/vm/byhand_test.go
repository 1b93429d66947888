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

	"github.com/shoal-dev/shoal/internal/busybox"
)

// command is what somebody types, and a pattern of what is said then, both streams together.
type command struct{ do, want string }

// byHand are commands as a user types them, on a host with control groups of version 2, and what they must say. Each limit is
// exceeded, and the kernel acts.
var byHand = []command{
	{"shoal run --rm box sh -c 'cat /proc/self/cgroup'", `^0::/$`},
	{"shoal run --rm --memory 64m --cpus 0.5 --pids-limit 9 box sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'", `^67108864\n50000 100000\n9$`},
	{"shoal run --name oom --memory 16m box sh -c 'x=a; while true; do x=$x$x; done'; echo $?; shoal inspect --format '{{.State.OOMKilled}}' oom", `137\ntrue$`},
	{"shoal run --rm --pids-limit 5 box sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'; true", `can't fork`},
	{"shoal run --rm box sh -c 'mknod /d b 254 0 && cat /d'; echo $?", `Operation not permitted\n1$`},
	{"shoal run --rm --memory 64m --memory-swap 96m --memory-reservation 32m box sh -c 'cd /sys/fs/cgroup; cat memory.swap.max memory.low'", `^33554432\n33554432$`},
	{"shoal run --rm --memory-swappiness 10 box true; echo $?", `swappiness.*version 1\n125$`},
	{"shoal run --rm --oom-kill-disable --memory 64m box true; echo $?", `version 1\n125$`},
	{"shoal run --rm --cpuset-cpus 1 --cpuset-mems 0 box sh -c 'grep _allowed_list /proc/self/status; taskset 1 true'; echo $?", `^Cpus_allowed_list:\s1\nMems_allowed_list:\s0\n.*(?i)invalid argument\n1$`},
	{"shoal run --rm --cpu-shares 10240 --cpu-period 50000 --cpu-quota 10000 --cpu-burst 5000 box sh -c 'cd /sys/fs/cgroup; cat cpu.weight cpu.max cpu.max.burst'", `^391\n10000 50000\n5000$`},
	{"echo bfq >/sys/block/nullb0/queue/scheduler; shoal run --rm --blkio-weight 300 --blkio-weight-device /dev/nullb0:200 box cat /sys/fs/cgroup/io.bfq.weight", `^default 300\n\d+:\d+ 200$`},
	{"shoal run --rm --blkio-weight-device /dev/vda:200 box true; echo $?", `no scheduler that knows weights serves disk .*BFQ.*\n125$`},
	{"shoal run --rm --device-read-bps /dev/vda:1mb --device-write-iops /dev/vda:16 box cat /sys/fs/cgroup/io.max", `^\d+:0 rbps=1048576 wbps=max riops=max wiops=16$`},
	{"shoal run --rm --device-write-iops /dev/vda:16 box sh -c 'time dd if=/dev/zero of=/f bs=64k count=16 oflag=direct' 2>&1 | awk '/^real/ { print ($3+0 >= 0.8 ? \"slow\" : \"quick\") }'", `^slow$`},
	{"echo 2 >/proc/sys/vm/nr_hugepages; shoal run --rm --privileged --cgroup-conf hugetlb.2MB.max=2097152 box sh -c 'mkdir /h && mount -t hugetlbfs h /h && fallocate -l 2097152 /h/one && echo one; fallocate -l 4194304 /h/two && echo two; true'", `^one\nfallocate: .*$`},
	{"shoal run --rm --cgroup-conf rdma.max='none0 hca_handle=1' box true; echo $?; shoal run --rm box sh -c 'cd /sys/fs/cgroup; ls rdma.max rdma.current misc.max misc.current'", `rdma.max.*\n125\nmisc.current\nmisc.max\nrdma.current\nrdma.max$`},
	{"shoal run --rm --time-offset boottime=1000000 box cat /proc/uptime", `^100\d{4}\.`},
	{"shoal run --rm --userns auto box sh -c 'cat /proc/self/uid_map; stat -c %u /bin/busybox; touch /f && stat -c %u /f'", `^0 1879\d{6}\s+65536\n0\n0$`},
	{"ip link add up0 type dummy && ip link set up0 up && shoal network create -d ipvlan -o parent=up0 --subnet 198.51.100.0/24 lan >/dev/null && for c in a b; do shoal run -d --name ip$c --network lan box sleep 1000 >/dev/null; done; " +
		"shoal exec ipa ping -c 1 -W 30 ipb | grep -c '1 packets received'; shoal rm -f ipa ipb >/dev/null; shoal network rm lan", `^1\nlan$`},
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
	t.Parallel()
	began := time.Now()
	try(t, startHost(t, Config{Name: "hand"}, testDisk), byHand)
	t.Logf("%d commands in %s", len(byHand), time.Since(began).Round(time.Second))
}

// startHost boots a machine whose daemon runs and knows the image box. First is a script that comes before the daemon.
func startHost(t *testing.T, cfg Config, first string) *Machine {
	t.Helper()
	k, root := newSystem(t)
	root.program("bin/shoal", bin+"/shoal")
	root.copy("box.tar", boxImage(t), 0o644)
	cfg.Kernel, cfg.Root, cfg.Memory, cfg.CPUs = k.image(), pack(t, root), 768, 2
	m := start(t, cfg)
	output(t, m, "%s", first)
	output(t, m, "%s", startDaemon)
	output(t, m, "shoal image import --change 'ENV PATH=/bin' - box </box.tar")
	return m
}

// try types commands one after the other.
func try(t *testing.T, m *Machine, commands []command) {
	t.Helper()
	for _, c := range commands {
		out := strings.TrimSpace(output(t, m, "exec 2>&1; %s; true", c.do))
		if !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("%s\n says %q\nwant %q", c.do, out, c.want)
		}
	}
}

// boxImage is busybox with all its commands.
func boxImage(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := busybox.Tar(exe)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "box.tar")
	if err := os.WriteFile(to, archive, 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}
