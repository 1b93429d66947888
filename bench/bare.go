//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// bareLoads are run inside a container and outside by the same busybox.
var bareLoads = []struct{ what, script string }{
	{"CPU", "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done"},
	{"memory", "dd if=/dev/zero of=/dev/null bs=4M count=6000 2>/dev/null"},
	{"file", "dd if=/dev/zero of=$DIR/bench bs=1M count=800 2>/dev/null; rm $DIR/bench"},
	{"loopback", "mkfifo $DIR/f; exec 3<>$DIR/f; nc -l -p 7777 <&3 >/dev/null & " + // which ends with its standard input; 0A: it listens
		"until grep -q ':1E61 [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6; do :; done; dd if=/dev/zero bs=64k count=8000 2>/dev/null | nc 127.0.0.1 7777; wait; rm $DIR/f"},
}

// timing is a command, and the best time that it took.
type timing struct {
	cmd  *exec.Cmd
	best *time.Duration
}

// bare: a process inside runs at the speed of one outside. What it takes to get a shell there is taken off both times.
func (b *bench) bare(ctx context.Context) error {
	return b.withPair(ctx, "bb", func(p *pair) error { return b.insideOut(ctx, p) })
}

func (b *bench) insideOut(ctx context.Context, p *pair) error {
	box, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if _, err := p.host.CLI(ctx, "run", "-d", "--name", "bare", "-v", "bare:/data", "--env", "DIR=/data", "box:1", "sleep", "100000"); err != nil {
		return err
	}
	dir := filepath.Join(p.host.Dir, "bare")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// The best of several, by turns and who is first by turns: what is looked for is a cost that is always there.
	measure := func(script string) (in, out time.Duration, err error) {
		in, out = time.Hour, time.Hour
		for i := range 4*b.runs + 1 {
			outside := exec.CommandContext(ctx, box, "sh", "-c", script)
			outside.Env = []string{"PATH=/bin:/usr/bin", "DIR=" + dir}
			pair := []timing{{p.host.Command(ctx, "exec", "bare", "sh", "-c", script), &in}, {outside, &out}}
			if i%2 == 1 {
				slices.Reverse(pair)
			}
			for _, m := range pair {
				d, err := timed(func(c *exec.Cmd) error { return p.host.Inside(c.Start) }, m.cmd)
				if err != nil {
					return 0, 0, fmt.Errorf("%s: %w", script, err)
				}
				*m.best = min(*m.best, d)
			}
		}
		return in, out, nil
	}
	baseIn, baseOut, err := measure("true")
	if err != nil {
		return err
	}
	for _, load := range bareLoads {
		in, out, err := measure(load.script)
		if err != nil {
			return err
		}
		in, out = in-baseIn, out-baseOut
		b.add(row{"inside against outside, best of several: " + load.what, millis(in), "outside " + millis(out), ratio(in.Seconds(), out.Seconds()), "0.99 to 1.01"})
	}
	return nil
}

func timed(start func(*exec.Cmd) error, cmd *exec.Cmd) (time.Duration, error) {
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	began := time.Now()
	err := start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	return time.Since(began), err
}
