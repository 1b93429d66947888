//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// manyCount is how many containers are started, four at a time; Docker gets a fifth of them.
const manyCount = 200

// many: how fast a node fills.
func (b *bench) many(ctx context.Context) error {
	return b.withPair(ctx, "bm", func(p *pair) error { return b.fill(ctx, p) })
}

func (b *bench) fill(ctx context.Context, p *pair) error {
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
