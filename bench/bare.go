//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// bareLoads are run inside a container and outside by the same busybox.
var bareLoads = []struct{ what, script string }{
	{"CPU", "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done"},
	{"memory", "dd if=/dev/zero of=/dev/null bs=4M count=6000 2>/dev/null"},
	{"file", "dd if=/dev/zero of=$DIR/bench bs=1M count=800 2>/dev/null; rm $DIR/bench"},
	{"loopback", "mkfifo $DIR/f; exec 3<>$DIR/f; nc -l -p 7777 <&3 >/dev/null & " + // which ends with its standard input; 0A: it listens
		"until grep -q ':1E61 [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6; do :; done; dd if=/dev/zero bs=64k count=8000 2>/dev/null | nc 127.0.0.1 7777; wait; rm $DIR/f"},
}

// place is somewhere to run a load, and the best time that one took there.
type place struct {
	command func(script string) *exec.Cmd
	best    time.Duration
}

// bare: a process inside runs at the speed of one outside. That one is in a control group of its own, like every service of a
// host with systemd: the kernel counts the memory of those, and not that of a process in the root of all groups. What the
// counting costs is a row of its own.
func (b *bench) bare(ctx context.Context) error {
	return b.withPair(ctx, "bb", func(p *pair) error {
		list, err := barePlaces(ctx, p)
		if err != nil {
			return err
		}
		shells := make([]time.Duration, len(list)) // what it takes to get one is taken off
		if err := b.turns(p.host, "true", list); err != nil {
			return err
		}
		for i, at := range list {
			shells[i] = at.best
		}
		for _, load := range bareLoads {
			if err := b.turns(p.host, load.script, list); err != nil {
				return err
			}
			in, outside, root := list[0].best-shells[0], list[1].best-shells[1], list[2].best-shells[2]
			b.add(row{"inside against outside, best of several: " + load.what, millis(in), "outside " + millis(outside), ratio(in.Seconds(), outside.Seconds()), "0.99 to 1.01"})
			b.add(row{"the same, outside of all control groups: " + load.what, millis(in), "outside " + millis(root), ratio(in.Seconds(), root.Seconds()), ""})
		}
		return nil
	})
}

// barePlaces are inside of a container, outside in a control group, and outside of all groups.
func barePlaces(ctx context.Context, p *pair) ([]*place, error) {
	box, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	if _, err := p.host.CLI(ctx, "run", "-d", "--name", "bare", "-v", "bare:/data", "--env", "DIR=/data", "box:1", "sleep", "100000"); err != nil {
		return nil, err
	}
	dir := filepath.Join(p.host.Dir, "bare")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	join, err := joinGroups(p.host.CgroupParent())
	if err != nil {
		return nil, err
	}
	outside := func(before string) *place {
		return &place{command: func(script string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, box, "sh", "-c", before+script)
			cmd.Env = []string{"PATH=/bin:/usr/bin", "DIR=" + dir}
			return cmd
		}}
	}
	inside := &place{command: func(script string) *exec.Cmd { return p.host.Command(ctx, "exec", "bare", "sh", "-c", script) }}
	return []*place{inside, outside(join), outside("")}, nil
}

// joinGroups makes a group below parent in every hierarchy where that is, and gives the script by which a shell joins them.
func joinGroups(parent string) (script string, err error) {
	one, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
	two, _ := filepath.Glob("/sys/fs/cgroup/" + parent)
	for _, dir := range append(one, two...) {
		if strings.Contains(dir, "/cpuset/") {
			continue // version 1 wants it filled in, and it counts nothing
		}
		dir = filepath.Join(dir, "outside")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		script += "echo $$ >" + filepath.Join(dir, "cgroup.procs") + "; "
	}
	return script, nil
}

// turns runs a script at every place by turns, and who is first by turns: what is looked for is a cost that is always there.
func (b *bench) turns(h *hosts.Host, script string, list []*place) error {
	for _, at := range list {
		at.best = math.MaxInt64
	}
	order := slices.Clone(list)
	for range 4*b.runs + 1 {
		for _, at := range order {
			d, err := timed(h, at.command(script))
			if err != nil {
				return fmt.Errorf("%s: %w", script, err)
			}
			at.best = min(at.best, d)
		}
		order = append(order[1:], order[0])
	}
	return nil
}

func timed(h *hosts.Host, cmd *exec.Cmd) (time.Duration, error) {
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	began := time.Now()
	err := h.Inside(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	return time.Since(began), err
}
