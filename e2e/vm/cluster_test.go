//go:build linux

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// TestThreeMachines is a cluster as a user makes one by hand: three hosts with a kernel each.
func TestThreeMachines(t *testing.T) {
	needVM(t)
	began := time.Now()
	c := newMachines(t, 3)
	c.step("three machines up")
	c.each(startDaemon)
	c.step("three daemons answer")
	c.join()
	c.step("cluster of three managers")
	c.each(`shoal image import --change 'ENTRYPOINT ["/web"]' --change 'EXPOSE 80' - web:1 </web.tar`)
	first := c.machines[0]
	output(t, first, "shoal network create -d overlay app")
	output(t, first, "shoal service create --name web --replicas 3 --limit-memory 64m --network app -p 8080:80 --env 'TASK={{.Task.Name}}' web:1")
	c.step("service web has 3/3 tasks")
	t.Run("published port of every machine from every other", c.published)
	c.step("published ports answer")
	t.Run("by name from inside a container", c.byName)
	t.Run("limits are the kernel's, on version 2", c.limits)
	t.Run("nothing differs from what is wanted", c.nothingDiffers)
	t.Run("containers outlive a killed daemon", c.outlive)
	c.step("daemon killed and started again")
	t.Run("a machine loses power", c.powerCut)
	c.step("three tasks on two machines")
	t.Logf("all in %s:\n%s", time.Since(began).Round(time.Second), strings.Join(c.summary, "\n"))
}

// startDaemon returns when the socket answers.
const startDaemon = `shoal daemon >>/var/daemon.log 2>&1 & echo $! >/run/daemon.pid
for i in $(seq 300); do shoal info >/dev/null 2>&1 && exit 0; sleep 0.1; done; echo no answer; tail -20 /var/daemon.log; exit 1`

type machines struct {
	t        *testing.T
	machines []*Machine
	last     time.Time
	summary  []string
}

func newMachines(t *testing.T, n int) *machines {
	t.Helper()
	c := &machines{t: t, machines: make([]*Machine, n), last: time.Now()}
	k, root := newSystem(t)
	root.program("bin/shoal", bin+"/shoal")
	root.program("bin/web", bin+"/demo-web")
	root.copy("web.tar", webImage(t), 0o644)
	packed, lan := pack(t, root), freePort(t)
	c.step("initramfs packed")
	errs := make(chan error, n)
	for i := range n {
		go func() (err error) {
			defer func() { errs <- err }()
			c.machines[i], err = boot(t, Config{Name: fmt.Sprintf("vm%d", i+1), Kernel: k.image(), Root: packed, Memory: 640, CPUs: 1, Number: i + 1, Switch: lan})
			return err
		}()
	}
	c.noError(collect(errs, n))
	t.Cleanup(c.showLogs)
	return c
}

// collect waits for n results.
func collect(errs <-chan error, n int) error {
	var all []error
	for range n {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func (c *machines) noError(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func webImage(t *testing.T) string {
	t.Helper()
	data, err := hosts.Rootfs(bin+"/demo-web", "web")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "web.tar")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *machines) step(what string) {
	now := time.Now()
	c.summary = append(c.summary, fmt.Sprintf("%6.1fs  %s", now.Sub(c.last).Seconds(), what))
	c.last = now
}

func (c *machines) showLogs() {
	for _, m := range c.machines {
		if c.t.Failed() && m != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			text, _ := m.Output(ctx, "tail -c 8000 /var/daemon.log; dmesg | tail -20; shoal node ls; shoal service ps --no-trunc web")
			cancel()
			c.t.Logf("---- %s\n%s", m.cfg.Name, text)
		}
	}
}

// each runs a script on all machines at once.
func (c *machines) each(script string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	errs := make(chan error, len(c.machines))
	for _, m := range c.machines {
		go func() {
			_, err := m.Output(ctx, script)
			errs <- err
		}()
	}
	c.noError(collect(errs, len(c.machines)))
}

func (c *machines) join() {
	c.t.Helper()
	first := c.machines[0]
	// An emulated machine may stand still for seconds when the real one is busy: that is no reason to replace its tasks.
	output(c.t, first, "shoal cluster init --advertise-addr %s --lost-after 20s", first.Addr())
	token := strings.TrimSpace(output(c.t, first, "shoal cluster token manager -q"))
	for _, m := range c.machines[1:] {
		output(c.t, m, "shoal cluster join --advertise-addr %s --token %s %s:2377", m.Addr(), token, first.Addr())
	}
	eventually(c.t, first, "three ready managers", `shoal node ls; test "$(shoal node ls --format '{{.Status}} {{.ManagerStatus}}' | grep -cE 'Ready (Leader|Reachable)')" = 3`)
}

// eventually repeats a script on a machine until it succeeds.
func eventually(t *testing.T, m *Machine, what, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out string
	took, err := hosts.Until(ctx, time.Minute, func() (err error) {
		out, err = m.Output(ctx, script)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%s: %s after %s", m.cfg.Name, what, took.Round(100*time.Millisecond))
	return out
}

func (c *machines) published(t *testing.T) {
	for _, from := range c.machines {
		for _, to := range c.machines {
			if from == to {
				continue
			}
			for _, addrs := range [][2]string{{from.Addr(), to.Addr()}, {from.Addr6(), "[" + to.Addr6() + "]"}} {
				url := "http://" + addrs[1] + ":8080/"
				out := eventually(t, from, url, "web get "+url)
				if !strings.Contains(out, "task=web.") || !strings.Contains(out, "client="+addrs[0]+" ") {
					t.Errorf("%s from %s: got %q, want the client's address in it", url, from.cfg.Name, out)
				}
			}
		}
	}
}

// firstID is a container of the service on a machine.
const firstID = "$(shoal ps -q --no-trunc --filter label=shoal.service.name=web | head -1)"

func (c *machines) byName(t *testing.T) {
	for _, m := range c.machines {
		for _, name := range []string{"web", "tasks.web"} {
			// Again, if an emulated machine was too slow once: `web get` waits a second for each answer, and gossip no longer.
			out := eventually(t, m, "12 answers of "+name, "shoal exec "+firstID+" /web get http://"+name+"/ 12")
			if n := len(distinct(out)); n < 2 {
				t.Errorf("%s: twelve requests to %s were answered by %d tasks:\n%s", m.cfg.Name, name, n, out)
			}
		}
	}
}

func distinct(text string) map[string]bool {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		seen[line] = true
	}
	return seen
}

func (c *machines) limits(t *testing.T) {
	m := c.machines[0]
	if out := output(t, m, "cat /sys/fs/cgroup/shoal/%s/memory.max", firstID); out != "67108864\n" {
		t.Errorf("memory.max is %q, want 64 MiB", out)
	}
}

func (c *machines) nothingDiffers(t *testing.T) {
	for _, m := range c.machines {
		eventually(t, m, "network check", "shoal network check; shoal network check | grep -q 'no differences'")
	}
}

const pids = `for c in $(shoal ps -q); do shoal inspect --format '{{.State.Pid}}' $c; done`

func (c *machines) outlive(t *testing.T) {
	first, m := c.machines[0], c.machines[1]
	tasks := output(t, first, "shoal service ps -q --filter desired-state=running web")
	before := output(t, m, pids)
	if before == "" {
		t.Fatalf("%s runs no container", m.cfg.Name)
	}
	output(t, m, "kill -9 $(cat /run/daemon.pid); ! shoal ps 2>/dev/null")
	output(t, m, "for p in %s; do test -d /proc/$p || exit 1; done", strings.ReplaceAll(strings.TrimSpace(before), "\n", " "))
	eventually(t, first, "the machine without a daemon answers", "web get http://"+m.Addr()+":8080/")
	output(t, m, "%s", startDaemon)
	if after := output(t, m, pids); after != before {
		t.Errorf("processes %q, before the kill %q", after, before)
	}
	eventually(t, first, "three ready nodes", `test "$(shoal node ls --format '{{.Status}}' | grep -c Ready)" = 3`)
	if now := output(t, first, "shoal service ps -q --filter desired-state=running web"); now != tasks {
		t.Errorf("tasks were replaced: %s, before %s", now, tasks)
	}
}

func (c *machines) powerCut(t *testing.T) {
	last := len(c.machines) - 1
	c.machines[last].Close()
	c.machines = c.machines[:last]
	first := c.machines[0]
	eventually(t, first, "the dead machine is seen", `shoal node ls --format '{{.Hostname}} {{.Status}}' | grep 'vm3 Down'`)
	eventually(t, first, "three tasks on two machines", `shoal service ps --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' web >/run/ps; cat /run/ps
test "$(grep -cE '^vm[12] Running' /run/ps)" = 3`)
	for _, m := range c.machines {
		eventually(t, first, m.cfg.Name+" answers ten times", "for i in $(seq 10); do web get http://"+m.Addr()+":8080/ || exit 1; done")
	}
}
