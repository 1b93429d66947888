//go:build linux

// Demo raises a cluster of five hosts on this machine, runs a replicated service on it, kills a worker and the
// leader, and shows what happens. It needs root and leaves nothing behind, unless it is told to keep the cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

func main() {
	keep := flag.Bool("keep", false, "leave the cluster up")
	down := flag.Bool("down", false, "take down a cluster that was left up")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	act := func() error { return run(ctx, *keep) }
	if *down {
		act = func() error { return hosts.Remove(name, dir) }
	}
	if err := act(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// The demo's name and place are fixed, so that one left up can be found again.
const (
	name = "demo"
	dir  = "/tmp/shoal-demo"
)

func run(ctx context.Context, keep bool) (err error) {
	if os.Getuid() != 0 {
		return errors.New("needs root: network namespaces, cgroups and mounts are made for real")
	}
	bin, err := filepath.Abs("bin/shoal")
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s exists: a demo is up; take it down with 'make demo-down'", dir)
	}
	lab, err := hosts.New(hosts.Config{Name: name, Dir: dir, Bin: bin, N: 5})
	if err != nil {
		return fmt.Errorf("make five hosts: %w", err)
	}
	d := &demo{lab: lab, start: time.Now(), keep: keep}
	defer func() {
		if keep && err == nil {
			d.howToTalk()
			return
		}
		d.say("taking everything down")
		err = errors.Join(err, lab.Close())
	}()
	return d.play(ctx)
}

type demo struct {
	lab     *hosts.Lab
	start   time.Time
	keep    bool
	summary []string
}

// say prints a step, note one line of the summary at the end.
func (d *demo) say(format string, a ...any) {
	fmt.Printf("\n\033[1m[%5.1fs] %s\033[0m\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, a...))
}

func (d *demo) note(format string, a ...any) {
	s := fmt.Sprintf(format, a...)
	fmt.Println("  ->", s)
	d.summary = append(d.summary, s)
}

// cli runs a command on a host, shows it and what it printed.
func (d *demo) cli(ctx context.Context, h *hosts.Host, args ...string) (string, error) {
	fmt.Printf("  %s$ shoal %s\n", h.Name, strings.Join(args, " "))
	out, err := h.CLI(ctx, args...)
	for line := range strings.Lines(out) {
		fmt.Print("    ", line)
	}
	return out, err
}

func (d *demo) play(ctx context.Context) error {
	last := d.cleanup
	if d.keep {
		last = d.revive
	}
	for _, act := range []func(context.Context) error{d.cluster, d.service, d.reach, d.disaster, last} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	d.say("summary")
	for _, s := range d.summary {
		fmt.Println("  *", s)
	}
	return nil
}

func (d *demo) cluster(ctx context.Context) error {
	d.say("five hosts, one daemon each")
	if err := d.lab.Start(ctx); err != nil {
		return err
	}
	first := d.lab.Hosts[0]
	d.say("the first makes a cluster, the others join: three managers, two workers")
	if _, err := d.cli(ctx, first, "cluster", "init", "--advertise-addr", first.Addr.String()); err != nil {
		return err
	}
	for i, h := range d.lab.Hosts[1:] {
		role := "worker"
		if i < 2 {
			role = "manager"
		}
		t := time.Now()
		if err := d.lab.JoinAs(ctx, h, role); err != nil {
			return err
		}
		d.note("%s joined as %s in %.2f s", h.Name, role, time.Since(t).Seconds())
	}
	_, err := hosts.Until(ctx, 20*time.Second, func() error { return d.ready(ctx, first, 5, 3) })
	if err != nil {
		return err
	}
	_, err = d.cli(ctx, first, "node", "ls")
	return err
}

// ready checks that nodes are Ready and managers reachable, as node ls says.
func (d *demo) ready(ctx context.Context, h *hosts.Host, nodes, managers int) error {
	out, err := h.CLI(ctx, "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
	if err != nil {
		return err
	}
	if n := strings.Count(out, " Ready "); n < nodes {
		return fmt.Errorf("%d of %d nodes are ready", n, nodes)
	}
	if m := strings.Count(out, "Leader") + strings.Count(out, "Reachable"); m < managers {
		return fmt.Errorf("%d of %d managers answer", m, managers)
	}
	return nil
}

func (d *demo) service(ctx context.Context) error {
	first := d.lab.Hosts[0]
	d.say("an image of one static binary, an overlay network, a service of six replicas")
	if err := d.lab.WebImage(ctx, "bin/demo-web", "web:1"); err != nil {
		return err
	}
	if _, err := d.cli(ctx, first, "network", "create", "-d", "overlay", "app"); err != nil {
		return err
	}
	t := time.Now()
	_, err := d.cli(ctx, first, "service", "create", "--name", "web", "--replicas", "6", "--network", "app", "-p", "8080:80",
		"--env", "TASK={{.Task.Name}}", "web:1")
	if err != nil {
		return err
	}
	d.note("service create to six replicas running: %.2f s", time.Since(t).Seconds())
	answer, err := d.lab.Client.Get(ctx, fmt.Sprintf("http://%s:8080/", d.lab.Hosts[4].Addr), 5*time.Second)
	if err != nil {
		return err
	}
	d.note("service create to a first answer through another host's published port: %.2f s (%s)", time.Since(t).Seconds(), strings.TrimSpace(answer))
	for _, args := range [][]string{{"service", "ls"}, {"service", "ps", "web"}} {
		if _, err := d.cli(ctx, first, args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) reach(ctx context.Context) error {
	d.say("the published port of every host, from outside; the service sees the client's own address (%s)", d.lab.Client.Addr)
	for _, h := range d.lab.Hosts {
		if err := d.published(ctx, h); err != nil {
			return err
		}
	}
	d.say("by name, from inside a container on another host")
	h := d.lab.Hosts[3]
	id, err := taskOn(ctx, h)
	if err != nil {
		return err
	}
	_, err = d.cli(ctx, h, "exec", id, "/web", "get", "http://web/")
	return err
}

// published asks one host for the page over both families and checks whom the service saw.
func (d *demo) published(ctx context.Context, h *hosts.Host) error {
	for _, to := range []struct{ url, client string }{
		{fmt.Sprintf("http://%s:8080/", h.Addr), d.lab.Client.Addr.String()},
		{fmt.Sprintf("http://[%s]:8080/", h.Addr6), d.lab.Client.Addr6.String()},
	} {
		out, err := d.lab.Client.Get(ctx, to.url, 5*time.Second)
		if err != nil {
			return err
		}
		fmt.Printf("    %-32s %s", to.url, out)
		if !strings.Contains(out, "client="+to.client+" ") {
			return fmt.Errorf("%s saw another client than %s", to.url, to.client)
		}
	}
	return nil
}

func (d *demo) disaster(ctx context.Context) error {
	leader, worker, survivor := d.leader(ctx), d.lab.Hosts[4], d.lab.Hosts[1]
	if leader == nil {
		return errors.New("no leader found")
	}
	if survivor == leader {
		survivor = d.lab.Hosts[0]
	}
	d.say("a worker (%s) and the leader (%s) die together: link cut, daemon and containers killed", worker.Name, leader.Name)
	t := time.Now()
	if err := errors.Join(worker.Die(), leader.Die()); err != nil {
		return err
	}
	if _, err := hosts.Until(ctx, 30*time.Second, func() error { return reach(ctx, survivor) }); err != nil {
		return fmt.Errorf("virtual IP after the deaths: %w", err)
	}
	d.note("dead hosts out of the load balancer (20 requests in a row to the virtual IP answered): %.2f s", time.Since(t).Seconds())
	if _, err := hosts.Until(ctx, 30*time.Second, func() error {
		_, err := survivor.CLI(ctx, "service", "create", "--detach", "--name", "after", "--replicas", "2", "--network", "app", "web:1")
		return err
	}); err != nil {
		return fmt.Errorf("write after the deaths: %w", err)
	}
	d.note("leader's death to the next write accepted: %.2f s", time.Since(t).Seconds())
	if _, err := hosts.Until(ctx, 60*time.Second, func() error { return replicas(ctx, survivor, "web", "6/6") }); err != nil {
		return err
	}
	d.note("all six replicas back: %.2f s", time.Since(t).Seconds())
	if _, err := hosts.Until(ctx, 30*time.Second, func() error { return replicas(ctx, survivor, "after", "2/2") }); err != nil {
		return err
	}
	for _, args := range [][]string{{"node", "ls"}, {"service", "ls"}, {"service", "ps", "web"}} {
		if _, err := d.cli(ctx, survivor, args...); err != nil {
			return err
		}
	}
	return nil
}

// reach succeeds when 20 requests in a row to the service's name are answered, asked from inside a container of h.
func reach(ctx context.Context, h *hosts.Host) error {
	id, err := taskOn(ctx, h)
	if err == nil {
		_, err = h.CLI(ctx, "exec", id, "/web", "get", "http://web/", "20")
	}
	return err
}

// taskOn is a container of the service web on h.
func taskOn(ctx context.Context, h *hosts.Host) (string, error) {
	out, err := h.CLI(ctx, "ps", "-q", "--filter", "label=shoal.service.name=web")
	if err != nil {
		return "", err
	}
	id, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if id == "" {
		err = fmt.Errorf("no container of web on %s", h.Name)
	}
	return id, err
}

func replicas(ctx context.Context, h *hosts.Host, service, want string) error {
	out, err := h.CLI(ctx, "service", "ls", "--filter", "name="+service, "--format", "{{.Replicas}}")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out); !strings.HasPrefix(got, want) {
		return fmt.Errorf("service %s has %s replicas, want %s", service, got, want)
	}
	return nil
}

func (d *demo) leader(ctx context.Context) *hosts.Host {
	out, err := d.lab.Hosts[0].CLI(ctx, "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
	if err != nil {
		return nil
	}
	for _, h := range d.lab.Hosts {
		if strings.Contains(out, h.Name+" Leader") {
			return h
		}
	}
	return nil
}

func (d *demo) cleanup(ctx context.Context) error {
	leader := d.lab.Hosts[1]
	if leader.Pid() == 0 {
		leader = d.lab.Hosts[2]
	}
	d.say("removing the services")
	_, err := d.cli(ctx, leader, "service", "rm", "web", "after")
	if err == nil {
		_, err = d.cli(ctx, leader, "network", "rm", "app")
	}
	return err
}

// revive brings the dead hosts back, so that the cluster that stays up is whole.
func (d *demo) revive(ctx context.Context) error {
	d.say("the dead hosts come back")
	for _, h := range d.lab.Hosts {
		if h.Pid() != 0 {
			continue
		}
		if err := errors.Join(h.SetLink(true), h.Start(ctx)); err != nil {
			return err
		}
	}
	first := d.lab.Hosts[0]
	took, err := hosts.Until(ctx, 30*time.Second, func() error {
		out, err := first.CLI(ctx, "node", "ls", "--format", "{{.Status}}")
		if err == nil && strings.Count(out, "Ready") != len(d.lab.Hosts) {
			err = fmt.Errorf("not all are ready: %s", out)
		}
		return err
	})
	if err != nil {
		return err
	}
	d.note("all five hosts ready again: %.2f s", took.Seconds())
	_, err = d.cli(ctx, first, "node", "ls")
	return err
}

func (d *demo) howToTalk() {
	d.say("the cluster stays up; talk to it like this")
	for _, h := range d.lab.Hosts {
		if h.Pid() != 0 {
			fmt.Printf("  export SHOAL_HOST=%s   # %s, in it: ip netns exec %s curl ...\n", h.Socket(), h.Name, h.Name)
		}
	}
	fmt.Println("  take it down with: make demo-down")
}
