//go:build linux

package vm

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// beforeTheCut are containers of all policies; what they have written is told to the disk.
var beforeTheCut = []command{
	{"for p in no on-failure always unless-stopped; do shoal run -d --restart $p --name $p box sh -c 'echo begun; exec sleep 1000' >/dev/null && " +
		"shoal run -d --restart $p --name $p-stopped -t box sh >/dev/null && shoal stop -t 0 $p-stopped; done", `^(\S+-stopped\s*){4}$`},
	{"shoal network create --subnet 10.9.0.0/24 lan >/dev/null; shoal run -d --restart always --name db --network lan --ip 10.9.0.9 -v data:/data -p 8080:80 --memory 64m --health-cmd 'test -f /data/f' --health-interval 1s box " +
		"sh -c 'echo kept >>/data/f; mkdir -p /www; echo web >/www/index.html; sync; exec httpd -f -h /www'", `^[0-9a-f]{64}$`},
	{"shoal run -d --restart always --name frozen box sleep 1000 >/dev/null; shoal pause frozen; shoal run -d --rm --name once -v /anonymous box sleep 1000 >/dev/null; shoal volume ls -q | wc -l", `^frozen\n2$`},
	{"shoal rename no nobody; shoal update --memory 48m always; shoal commit nobody saved >/dev/null; shoal images -q saved | wc -l", `always\n1$`},
	{"for i in $(seq 100); do wget -q -O - http://127.0.0.1:8080 && break; sleep 0.1; done", `^web$`},
	{"for n in late late-stopped; do shoal run -d --restart unless-stopped --name $n box sleep 1000 >/dev/null; done; shoal stop -t 0 late-stopped", `^late-stopped$`}, // nothing tells the disk
}

var afterTheCut = []command{
	{"for i in $(seq 300); do shoal ps | grep -q Restarting || break; sleep 0.1; done; shoal ps -a --format '{{.Names}} {{.State}}' | sort", `^always running\nalways-stopped running\ndb running\nfrozen running\nlate running\nlate-stopped exited\nno-stopped exited\nnobody exited\non-failure running\non-failure-stopped exited\nunless-stopped running\nunless-stopped-stopped exited$`},
	{"shoal inspect --format '{{.State.ExitCode}} {{.State.Error}}' nobody", `^255 .+`},
	{"shoal logs always; shoal inspect --format '{{.HostConfig.Memory}}' always; cat /sys/fs/cgroup/shoal/$(shoal inspect --format '{{.Id}}' always)/memory.max", `^begun\nbegun\n50331648\n50331648$`},
	{"for i in $(seq 100); do wget -q -O - http://127.0.0.1:8080 && break; sleep 0.1; done; shoal exec db cat /data/f; shoal exec always true; shoal inspect --format '{{.NetworkSettings.Networks.lan.IPAddress}}' db", `^web\nkept\nkept\n10.9.0.9$`},
	{"for i in $(seq 200); do [ $(shoal inspect --format '{{.State.Health.Status}}' db) = healthy ] && echo well && break; sleep 0.1; done", `^well$`},
	{"shoal run --rm saved sh -c 'cat /bin/busybox | wc -c' | grep -c '^[0-9]\\{6,\\}$'; shoal volume ls -q; shoal start nobody; shoal exec nobody echo alive", `^1\ndata\nnobody\nalive$`},
}

// powerUsers do what changes the state of a host, and say what they were told has been done.
const powerUsers = `user() {
	i=0
	while :; do
		i=$((i+1)); n=$1$i
		shoal run -d --name $n -v $n:/d --network none box sh -c "echo $n >/d/f; sync; exec sleep 1000" >/dev/null && echo "container $n"
		shoal commit $n $n >/dev/null && echo "image $n"
		shoal network create $n >/dev/null && echo "network $n"
		[ $i = 1 ] && continue
		o=$1$((i-1))
		echo "? $o"
		shoal rm -f $o >/dev/null && echo "-container $o"
		shoal volume rm $o >/dev/null && echo "-volume $o"
		shoal network rm $o >/dev/null && echo "-network $o"
		shoal image rm $o >/dev/null && echo "-image $o"
	done
}
user a & user b & wait`

// TestPowerCut takes a machine's power: containers come back as their policies say, and whatever a user was told to be done is done.
func TestPowerCut(t *testing.T) {
	needVM(t)
	t.Parallel()
	m := startHost(t, Config{Name: "power"}, "true")
	empty := output(t, m, powerTraces)
	try(t, m, beforeTheCut)
	powerCut(t, m)
	try(t, m, afterTheCut)
	for range 4 {
		told := cutUnderLoad(t, m)
		told.check(t, m)
	}
	output(t, m, "shoal rm -f $(shoal ps -aq) >/dev/null; shoal volume rm data >/dev/null; shoal system prune -af >/dev/null; shoal image import --change 'ENV PATH=/bin' - box </box.tar")
	if left := output(t, m, powerTraces); left != empty {
		t.Errorf("left behind:\n%s\nwant as in the beginning:\n%s", left, empty)
	}
}

// powerTraces count what a host keeps.
const powerTraces = `cd /var/lib/shoal; for d in content/ingest content/blobs/sha256 snapshots/s snapshots/tmp volumes networks containers; do echo $d $(ls $d | wc -l); done
grep -c shoal /proc/mounts; ls -d /sys/fs/cgroup/shoal/*/ 2>/dev/null; true`

func powerCut(t *testing.T, m *Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := m.PowerCut(ctx); err != nil {
		t.Fatal(err)
	}
	output(t, m, "%s", startDaemon)
}

// told is what users were told, a line each.
type told []string

// cutUnderLoad lets users work for a while.
func cutUnderLoad(t *testing.T, m *Machine) told {
	t.Helper()
	var said bytes.Buffer
	var users sync.WaitGroup
	users.Go(func() { m.Run(t.Context(), powerUsers, &said) }) // ends with the machine
	moment := time.NewTimer(5*time.Second + rand.N(10*time.Second))
	select {
	case <-moment.C:
	case <-t.Context().Done():
	}
	m.conn.Close()
	users.Wait()
	powerCut(t, m)
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	t.Logf("cut after %d lines", len(lines))
	return lines
}

// check compares what users were told with what is there: what was done is there, what was removed is not. What was under way
// may be either.
func (lines told) check(t *testing.T, m *Machine) {
	t.Helper()
	there := map[string][]string{
		"container": strings.Fields(output(t, m, "shoal ps -a --format '{{.Names}}'")),
		"image":     strings.Fields(output(t, m, "shoal images --format '{{.Repository}}'")),
		"network":   strings.Fields(output(t, m, "shoal network ls --format '{{.Name}}'")),
		"volume":    strings.Fields(output(t, m, "shoal volume ls -q")),
	}
	for _, line := range lines {
		kind, name, _ := strings.Cut(line, " ")
		kind, gone := strings.CutPrefix(kind, "-")
		if kind == "?" {
			continue
		}
		if there[kind] == nil && kind != "volume" {
			t.Errorf("a user says %q", line)
			continue
		}
		has := slices.Contains(there[kind], name)
		removing := slices.Contains(lines, "? "+name)
		if gone && has || !gone && !removing && !has {
			t.Errorf("told %q, but there are %s", line, there[kind])
		}
	}
	for _, line := range lines {
		kind, name, _ := strings.Cut(line, " ")
		if slices.Contains(lines, "? "+name) {
			continue
		}
		switch kind {
		case "container":
			says(t, m, name, "shoal start %[1]s >/dev/null; shoal exec %[1]s cat /d/f", name)
		case "image":
			says(t, m, name, "shoal run --rm %[1]s sh -c '/bin/busybox true && echo %[1]s'", name)
		}
	}
	output(t, m, "for c in $(shoal ps -a --format '{{.Names}}' | grep '^[ab][0-9]'); do shoal rm -f $c; done; for v in $(shoal volume ls -q | grep '^[ab][0-9]'); do shoal volume rm $v; done; "+
		"for n in $(shoal network ls --format '{{.Name}}' | grep '^[ab][0-9]'); do shoal network rm $n; done; for i in $(shoal images --format '{{.Repository}}' | grep '^[ab][0-9]'); do shoal image rm $i; done")
}

func says(t *testing.T, m *Machine, want, format string, args ...any) {
	t.Helper()
	if got := strings.TrimSpace(output(t, m, format, args...)); got != want {
		t.Errorf("%s says %q, want %q", fmt.Sprintf(format, args...), got, want)
	}
}
