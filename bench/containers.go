//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// cli runs a command line of one engine.
type cli func(ctx context.Context, args ...string) (string, error)

// pair is both engines with the image box:1, Debian's busybox.
type pair struct {
	lab    *hosts.Lab
	host   *hosts.Host
	docker *hosts.Docker // nil: not here, for the reason
	reason error
}

func (b *bench) pair(ctx context.Context, name string) (*pair, error) {
	image, err := hosts.Busybox()
	if err != nil {
		return nil, err
	}
	l, err := hosts.New(hosts.Config{Name: name, Dir: "/tmp/shoal-" + name, Bin: b.bin, N: 1})
	if err != nil {
		return nil, err
	}
	p := &pair{lab: l, host: l.Hosts[0]}
	if err := l.Start(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if _, err := p.host.CLIWith(ctx, bytes.NewReader(image), "image", "import", "-", "box:1"); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if p.docker, p.reason = hosts.StartDocker(ctx, l.Client); p.reason == nil {
		if _, err := p.docker.CLI(ctx, bytes.NewReader(image), "import", "-", "box:1"); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

func (p *pair) close() error {
	var err error
	if p.docker != nil {
		err = p.docker.Stop()
	}
	return errors.Join(err, p.lab.Close())
}

// both measures a command line of ours and of Docker's.
func (b *bench) both(ctx context.Context, p *pair, what, target string, n int, f func(context.Context, cli) error) error {
	ours := func() error { return f(ctx, p.host.CLI) }
	theirs := func() error {
		return f(ctx, func(ctx context.Context, args ...string) (string, error) { return p.docker.CLI(ctx, nil, args...) })
	}
	return b.byTurns(p, what, target, n, ours, theirs)
}

// byTurns measures ours and Docker's by turns, so that what else the machine does hits both, and adds a row of medians.
func (b *bench) byTurns(p *pair, what, target string, n int, ours, theirs func() error) error {
	var our, their []time.Duration
	for range n {
		if err := clock(&our, ours); err != nil {
			return err
		}
		if p.docker == nil {
			continue
		}
		if err := clock(&their, theirs); err != nil {
			return err
		}
	}
	r := row{what: what, ours: millis(median(our)), target: target}
	if p.docker == nil {
		r.peer = oneLine(p.reason)
	} else {
		r.peer, r.ratio = "Docker "+millis(median(their)), ratio(median(our).Seconds(), median(their).Seconds())
	}
	b.add(r)
	return nil
}

func clock(list *[]time.Duration, f func() error) error {
	start := time.Now()
	err := f()
	*list = append(*list, time.Since(start))
	return err
}

// containers: what a person waits for at one node's command line.
func (b *bench) containers(ctx context.Context) error {
	p, err := b.pair(ctx, "bc")
	if err != nil {
		return err
	}
	defer p.close()
	err = b.both(ctx, p, "run --rm, bridge network, wall time", "0.2 of Docker", 15, func(ctx context.Context, c cli) error {
		_, err := c(ctx, "run", "--rm", "box:1", "true")
		return err
	})
	if err != nil {
		return err
	}
	err = b.both(ctx, p, "run --rm, no network, wall time", "", 15, func(ctx context.Context, c cli) error {
		_, err := c(ctx, "run", "--rm", "--network", "none", "box:1", "true")
		return err
	})
	if err != nil {
		return err
	}
	if err := b.execs(ctx, p); err != nil {
		return err
	}
	if err := b.bare(ctx, p); err != nil {
		return err
	}
	return b.many(ctx, p)
}

func (b *bench) execs(ctx context.Context, p *pair) error {
	if _, err := p.host.CLI(ctx, "run", "-d", "--name", "sleeper", "box:1", "sleep", "100000"); err != nil {
		return err
	}
	if p.docker != nil {
		if _, err := p.docker.CLI(ctx, nil, "run", "-d", "--name", "sleeper", "box:1", "sleep", "100000"); err != nil {
			return err
		}
	}
	err := b.both(ctx, p, "exec, wall time of the command line", "0.1 of Docker", 25, func(ctx context.Context, c cli) error {
		_, err := c(ctx, "exec", "sleeper", "true")
		return err
	})
	if err != nil {
		return err
	}
	return b.execAPI(ctx, p)
}

// manyCount is how many containers are started, four at a time; Docker gets a fifth of them.
const manyCount = 200

func (b *bench) many(ctx context.Context, p *pair) error {
	ours, err := startMany(ctx, p.host.CLI, manyCount)
	if err != nil {
		return err
	}
	r := row{what: "containers started a second, four at a time, bridge network", ours: fmt.Sprintf("%.0f of %d", ours, manyCount), target: "5 times Docker"}
	if p.docker == nil {
		r.peer = oneLine(p.reason)
	} else {
		theirs, err := startMany(ctx, func(ctx context.Context, args ...string) (string, error) { return p.docker.CLI(ctx, nil, args...) }, manyCount/5)
		if err != nil {
			return err
		}
		r.peer, r.ratio = fmt.Sprintf("Docker %.1f of %d", theirs, manyCount/5), ratio(ours, theirs)
	}
	b.add(r)
	return b.footprint(p)
}

func startMany(ctx context.Context, c cli, n int) (rate float64, err error) {
	jobs := make(chan int)
	errs := make(chan error, 4)
	var users sync.WaitGroup
	start := time.Now()
	for range 4 {
		users.Go(func() {
			for range jobs {
				if _, err := c(ctx, "run", "-d", "box:1", "sleep", "100000"); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		jobs <- i
	}
	close(jobs)
	users.Wait()
	select {
	case err = <-errs:
	default:
	}
	return float64(n) / time.Since(start).Seconds(), err
}

// footprint is what many idle containers cost beyond their own processes.
func (b *bench) footprint(p *pair) error {
	shims, private := 0, 0.0
	for _, pid := range p.host.Pids() {
		if strings.Contains(command(pid), "shoal-shim") {
			if m, err := memoryOf(pid, "smaps_rollup", "Private_"); err == nil {
				shims, private = shims+1, private+m
			}
		}
	}
	rss, err := memoryOf(p.host.Pid(), "status", "VmRSS:")
	if err != nil || shims == 0 {
		return errors.Join(err, errors.New("no shim found"))
	}
	r := row{what: "private memory per idle container beyond its own", ours: fmt.Sprintf("%.2f MB", private/float64(shims)), target: "under 1.2 MB"}
	if p.docker != nil {
		n, sum := 0, 0.0
		for _, pid := range dockerShims(p.docker) {
			if m, err := memoryOf(pid, "smaps_rollup", "Private_"); err == nil {
				n, sum = n+1, sum+m
			}
		}
		if n > 0 {
			r.peer, r.ratio = fmt.Sprintf("Docker %.2f MB", sum/float64(n)), ratio(private/float64(shims), sum/float64(n))
		}
	}
	b.add(r)
	d := row{what: fmt.Sprintf("daemon with %d containers, RSS", shims), ours: fmt.Sprintf("%.1f MB", rss), target: "under 60 MB"}
	if p.docker != nil {
		if m, err := dockerMemory(p.docker); err == nil {
			d.peer = fmt.Sprintf("dockerd and containerd %.1f MB", m)
		}
	}
	b.add(d)
	return nil
}

// dockerShims are the supervisors of containers of this dockerd's containerd.
func dockerShims(d *hosts.Docker) []int {
	var pids []int
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		var pid int
		fmt.Sscanf(f, "/proc/%d/", &pid)
		if c := command(pid); strings.Contains(c, "containerd-shim") && strings.Contains(c, d.Dir()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

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
func (b *bench) bare(ctx context.Context, p *pair) error {
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
