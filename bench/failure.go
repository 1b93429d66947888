//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/internal/pause"
)

func command(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(b), "\x00", " ")
}

// failure: a worker's link is cut; then, in another cluster, the leader's.
func (b *bench) failure(ctx context.Context) error {
	var out, back, write []time.Duration
	for range b.runs {
		o, k, err := b.workerDies(ctx)
		if err != nil {
			return err
		}
		w, err := b.leaderDies(ctx)
		if err != nil {
			return err
		}
		out, back, write = append(out, o), append(back, k), append(write, w)
	}
	b.add(row{"worker's link cut to out of the load balancer", seconds(median(out)), "", "", "1.5 s"})
	b.add(row{"worker's link cut to its tasks running elsewhere", seconds(median(back)), "", "", "5 s"})
	b.add(row{"leader killed to the next write accepted", seconds(median(write)), "", "", "1.5 s"})
	return nil
}

func (b *bench) workerDies(ctx context.Context) (out, back time.Duration, err error) {
	l, err := b.lab(ctx, "bf", 4, 3)
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	// No task on the host that is asked: it would prefer its own and never notice.
	first, worker := l.Hosts[0], l.Hosts[3]
	if _, err := first.CLI(ctx, "network", "create", "-d", "overlay", "app"); err != nil {
		return 0, 0, err
	}
	if _, err := first.CLI(ctx, "service", "create", "--name", "web", "--replicas", "4", "--network", "app", "-p", "8080:80",
		"--constraint", "node.hostname!="+first.Name, "web:1"); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := worker.SetLink(false); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 1)
	go func() {
		_, err := hosts.Until(ctx, 30*time.Second, func() error { return replaced(ctx, first, worker) })
		back = time.Since(start)
		done <- err
	}()
	if out, err = lastFailure(ctx, l, first, start); err == nil {
		err = <-done
	}
	return out, back, err
}

// lastFailure asks again and again and returns when the last failing request began: from then on all were answered. A new one begins
// every few milliseconds, whatever became of those before: one after the other, each failure would be a step of its whole time limit.
func lastFailure(ctx context.Context, l *hosts.Lab, h *hosts.Host, start time.Time) (last time.Duration, err error) {
	const step, limit, quiet = 10 * time.Millisecond, 250 * time.Millisecond, time.Second
	var wg sync.WaitGroup
	var mu sync.Mutex
	defer wg.Wait()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for range tick.C {
		began := time.Since(start)
		mu.Lock()
		failed := last
		mu.Unlock()
		switch {
		case began > 30*time.Second:
			return 0, errors.New("requests still fail after 30 s")
		case began > failed+limit+quiet:
			return failed, nil
		}
		wg.Go(func() {
			if _, err := l.Client.Get(ctx, fmt.Sprintf("http://%s:8080/", h.Addr), limit); err != nil {
				mu.Lock()
				last = max(last, began)
				mu.Unlock()
			}
		})
	}
	return last, nil
}

// replaced: four tasks run, none of them on the dead node.
func replaced(ctx context.Context, h, dead *hosts.Host) error {
	out, err := h.CLI(ctx, "service", "ps", "web", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
	if err != nil {
		return err
	}
	if strings.Contains(out, dead.Name+" ") || strings.Count(out, "Running") != 4 {
		return fmt.Errorf("not replaced: %s", out)
	}
	return nil
}

func (b *bench) leaderDies(ctx context.Context) (time.Duration, error) {
	l, err := b.lab(ctx, "bl", 3, 3)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	if err := pause.For(ctx, time.Second); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := l.Hosts[0].Die(); err != nil { // it made the cluster, so it leads
		return 0, err
	}
	_, err = hosts.Until(ctx, 30*time.Second, func() error {
		_, err := l.Hosts[1].CLI(ctx, "service", "create", "-d", "--name", "after", "--replicas", "0", "web:1")
		return err
	})
	return time.Since(start), err
}
