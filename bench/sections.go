//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/internal/pause"
)

// runtime: one container, from the start call to its first instruction, ours and crun's by the same benchmark.
func (b *bench) runtime(ctx context.Context) error {
	m, err := goBench(ctx, "./engine/runtime", "BenchmarkStart", "-benchtime", "100x")
	if err != nil {
		return err
	}
	ours := m["BenchmarkStart ns/op"]
	if v, ok := m["BenchmarkStart first-instruction-ns/op"]; ok {
		ours = v
	}
	crun := m["BenchmarkStartCrun ns/op"]
	if v, ok := m["BenchmarkStartCrun first-instruction-ns/op"]; ok {
		crun = v
	}
	peer := "crun: not installed"
	if crun > 0 {
		peer = "crun " + millis(time.Duration(crun))
	}
	b.add(row{"start call to the first instruction, limits and seccomp on", millis(time.Duration(ours)), peer, ratio(ours, crun), "under 10 ms"})
	return nil
}

// memory: the daemon idle as manager and agent in one, and what a container adds.
func (b *bench) memory(ctx context.Context) error {
	l, err := b.lab(ctx, "bm", 1, 1)
	if err != nil {
		return err
	}
	defer l.Close()
	h := l.Hosts[0]
	if err := pause.For(ctx, 5*time.Second); err != nil {
		return err
	}
	idle, err := memoryOf(h.Pid(), "status", "VmRSS:")
	if err != nil {
		return err
	}
	b.add(row{"daemon idle, manager and agent in one, RSS", fmt.Sprintf("%.1f MB", idle), "", "", "under 45 MB"})
	const n = 20
	if _, err := h.CLI(ctx, "service", "create", "--name", "idle", "--replicas", fmt.Sprint(n), "web:1"); err != nil {
		return err
	}
	shims, private := 0, 0.0
	for _, pid := range h.Pids() {
		if strings.Contains(command(pid), "shoal-shim") {
			p, err := memoryOf(pid, "smaps_rollup", "Private_")
			if err != nil {
				return err
			}
			shims, private = shims+1, private+p
		}
	}
	if shims == 0 {
		return errors.New("no shim found")
	}
	b.add(row{"shim, private memory per container", fmt.Sprintf("%.2f MB", private/float64(shims)), "", "", "under 1.2 MB"})
	return nil
}

// service: create to N replicas running on one node, overlay network, by looking at the state every 20 ms.
func (b *bench) service(ctx context.Context) error {
	l, err := b.lab(ctx, "bs", 1, 1)
	if err != nil {
		return err
	}
	defer l.Close()
	h := l.Hosts[0]
	if _, err := h.CLI(ctx, "network", "create", "-d", "overlay", "app"); err != nil {
		return err
	}
	rootfs, err := hosts.Rootfs(b.web, "web")
	if err != nil {
		return err
	}
	d, dockerErr := startSwarm(ctx, l.Client, rootfs)
	if dockerErr == nil {
		defer d.Stop()
		if rss, err := dockerMemory(d); err == nil {
			b.add(row{what: "dockerd and containerd idle, swarm manager, RSS", peer: fmt.Sprintf("%.1f MB", rss)})
		}
	}
	for _, n := range []int{1, 10, 100} {
		ours, err := b.repeat(func() (time.Duration, error) { return shoalReplicas(ctx, h, n) })
		if err != nil {
			return err
		}
		r := row{what: fmt.Sprintf("service create to %d running, one node, overlay", n), ours: seconds(ours)}
		if n == 100 {
			r.target = "0.1 of Swarm"
		}
		if dockerErr != nil {
			r.peer = oneLine(dockerErr)
		} else if theirs, err := swarmReplicas(ctx, d, n); err != nil {
			r.peer = oneLine(err)
		} else {
			r.peer, r.ratio = "Swarm "+seconds(theirs), ratio(ours.Seconds(), theirs.Seconds())
		}
		b.add(r)
	}
	return nil
}

func (b *bench) repeat(f func() (time.Duration, error)) (time.Duration, error) {
	var all []time.Duration
	for range b.runs {
		d, err := f()
		if err != nil {
			return 0, err
		}
		all = append(all, d)
	}
	return median(all), nil
}

func shoalReplicas(ctx context.Context, h *hosts.Host, n int) (time.Duration, error) {
	start := time.Now()
	if _, err := h.CLI(ctx, "service", "create", "-d", "--name", "b", "--replicas", fmt.Sprint(n), "--network", "app", "web:1"); err != nil {
		return 0, err
	}
	if _, err := hosts.Until(ctx, 2*time.Minute, func() error { return running(ctx, h.CLI, n) }); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if _, err := h.CLI(ctx, "service", "rm", "b"); err != nil {
		return 0, err
	}
	_, err := hosts.Until(ctx, 2*time.Minute, func() error {
		out, err := h.CLI(ctx, "ps", "-aq")
		if err == nil && out != "" {
			err = errors.New("containers are still there")
		}
		return err
	})
	return took, err
}

// running asks `service ls`, which both command lines have.
func running(ctx context.Context, cli func(context.Context, ...string) (string, error), n int) error {
	out, err := cli(ctx, "service", "ls", "--format", "{{.Replicas}}")
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%d/%d", n, n); strings.TrimSpace(out) != want {
		return fmt.Errorf("%s running, want %s", strings.TrimSpace(out), want)
	}
	return nil
}

func swarmReplicas(ctx context.Context, d *hosts.Docker, n int) (time.Duration, error) {
	cli := func(ctx context.Context, args ...string) (string, error) { return d.CLI(ctx, nil, args...) }
	start := time.Now()
	if _, err := cli(ctx, "service", "create", "-d", "--name", "b", "--replicas", fmt.Sprint(n), "--network", "app", "--stop-signal", "SIGKILL", "--no-resolve-image", swarmImage); err != nil {
		return 0, err
	}
	if _, err := hosts.Until(ctx, 3*time.Minute, func() error { return running(ctx, cli, n) }); err != nil {
		return 0, err
	}
	took := time.Since(start)
	if _, err := cli(ctx, "service", "rm", "b"); err != nil {
		return 0, err
	}
	_, err := hosts.Until(ctx, 3*time.Minute, func() error {
		out, err := cli(ctx, "ps", "-aq")
		if err == nil && out != "" {
			err = errors.New("containers are still there")
		}
		return err
	})
	return took, err
}

// answer: service create to a first good answer through the virtual IP and through another host's published port.
func (b *bench) answer(ctx context.Context) error {
	l, err := b.lab(ctx, "ba", 2, 1)
	if err != nil {
		return err
	}
	defer l.Close()
	first, second := l.Hosts[0], l.Hosts[1]
	if _, err := first.CLI(ctx, "network", "create", "-d", "overlay", "app"); err != nil {
		return err
	}
	if _, err := first.CLI(ctx, "service", "create", "--name", "probe", "--network", "app", "--constraint", "node.hostname=="+second.Name, "web:1"); err != nil {
		return err
	}
	id, err := second.CLI(ctx, "ps", "-q")
	if err != nil {
		return err
	}
	var vip, port []time.Duration
	for range b.runs {
		v, p, err := firstAnswers(ctx, l, strings.TrimSpace(id))
		if err != nil {
			return err
		}
		vip, port = append(vip, v), append(port, p)
	}
	b.add(row{"service create to the first answer through another host's published port", seconds(median(port)), "nobody reports it", "", "reported"})
	b.add(row{"service create to the first answer through the virtual IP, other host, by exec", seconds(median(vip)), "nobody reports it", "", "reported"})
	return nil
}

// firstAnswers asks both ways at once from the moment of the create call.
func firstAnswers(ctx context.Context, l *hosts.Lab, probe string) (vip, port time.Duration, err error) {
	first, second := l.Hosts[0], l.Hosts[1]
	start := time.Now()
	if _, err := first.CLI(ctx, "service", "create", "-d", "--name", "b", "--network", "app", "-p", "8081:80", "--constraint", "node.hostname=="+first.Name, "web:1"); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 2)
	go func() {
		_, err := hosts.Until(ctx, 30*time.Second, func() error {
			_, err := l.Client.Get(ctx, fmt.Sprintf("http://%s:8081/", second.Addr), 500*time.Millisecond)
			return err
		})
		port = time.Since(start)
		done <- err
	}()
	go func() {
		_, err := hosts.Until(ctx, 30*time.Second, func() error {
			_, err := second.CLI(ctx, "exec", probe, "/web", "get", "http://b/")
			return err
		})
		vip = time.Since(start)
		done <- err
	}()
	err = errors.Join(<-done, <-done)
	_, rmErr := first.CLI(ctx, "service", "rm", "b")
	if err == nil && rmErr == nil {
		_, rmErr = hosts.Until(ctx, 30*time.Second, func() error {
			out, err := first.CLI(ctx, "ps", "-aq", "--filter", "label=shoal.service.name=b")
			if err == nil && out != "" {
				err = errors.New("containers are still there")
			}
			return err
		})
	}
	return vip, port, errors.Join(err, rmErr)
}

// path: new connections through the overlay and a virtual IP against direct ones, same CPU, by the overlay's own benchmark. Each
// run is a pair of its own; the ratio is the median of theirs.
func (b *bench) path(ctx context.Context) error {
	rates, ratios := map[string][]float64{}, map[string][]float64{}
	names := []string{"overlay", "vip", "ingress-local", "ingress-remote"}
	var last error
	for range 2*b.runs + 1 {
		m, err := goBench(ctx, "./overlay", "BenchmarkConnect", "-benchtime", "5000x")
		if err != nil {
			last = err // a connection that failed: the other runs tell
			continue
		}
		direct := m["BenchmarkConnect/direct ns/op"]
		if direct == 0 {
			return errors.New("no direct connections were measured")
		}
		rates["direct"] = append(rates["direct"], 1e9/direct)
		for _, name := range names {
			if v := m["BenchmarkConnect/"+name+" ns/op"]; v > 0 {
				rates[name], ratios[name] = append(rates[name], 1e9/v), append(ratios[name], direct/v)
			}
		}
	}
	if len(rates["direct"]) == 0 {
		return last
	}
	for _, name := range names {
		target := ""
		if name == "overlay" {
			target = "0.74 or better"
		}
		b.add(row{"new connections/s, " + name, fmt.Sprintf("%.0f", middle(rates[name])), fmt.Sprintf("direct %.0f", middle(rates["direct"])),
			fmt.Sprintf("%.2f", middle(ratios[name])), target})
	}
	return nil
}

// middle is the median of what was measured, 0 of nothing.
func middle(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
