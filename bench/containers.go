//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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

func (b *bench) withPair(ctx context.Context, name string, do func(*pair) error) error {
	p, err := b.pair(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(do(p), p.close())
}

func (p *pair) close() error {
	var err error
	if p.docker != nil {
		err = p.docker.Stop()
	}
	return errors.Join(err, p.lab.Close())
}

// both measures a command line of ours and of Docker's. Neither is started from a network namespace of the lab: their
// sockets are files, and to enter one takes as long as a short command.
func (b *bench) both(ctx context.Context, p *pair, what, target string, n int, args ...string) error {
	ours := func() error { return quietly(p.host.Command(ctx, args...)) }
	theirs := func() error { return quietly(p.docker.Command(ctx, args...)) }
	return b.byTurns(p, what, target, n, ours, theirs)
}

// quietly runs a command line; what it says is said only of one that fails. It writes to a file: nobody has to read along.
func quietly(cmd *exec.Cmd) error {
	fd, err := unix.MemfdCreate("said", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	said := os.NewFile(uintptr(fd), "said")
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Run(); err != nil {
		out := make([]byte, 4096)
		n, _ := said.ReadAt(out, 0)
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, oneLine(errors.New(string(out[:n]))))
	}
	return nil
}

// settle is the pause before each command, so that what the one before left to do in the background is not charged to it.
const settle = 100 * time.Millisecond

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
	time.Sleep(settle)
	start := time.Now()
	err := f()
	*list = append(*list, time.Since(start))
	return err
}

// containers: what a person waits for at one node's command line.
func (b *bench) containers(ctx context.Context) error {
	return b.withPair(ctx, "bc", func(p *pair) error {
		err := b.both(ctx, p, "run --rm, bridge network, wall time", "0.2 of Docker", 15, "run", "--rm", "box:1", "true")
		if err != nil {
			return err
		}
		return b.both(ctx, p, "run --rm, no network, wall time", "", 15, "run", "--rm", "--network", "none", "box:1", "true")
	})
}

// exec: one more process in a container that runs.
func (b *bench) exec(ctx context.Context) error {
	return b.withPair(ctx, "be", func(p *pair) error {
		args := []string{"run", "-d", "--name", "sleeper", "box:1", "sleep", "100000"}
		if err := quietly(p.host.Command(ctx, args...)); err != nil {
			return err
		}
		if p.docker != nil {
			if err := quietly(p.docker.Command(ctx, args...)); err != nil {
				return err
			}
		}
		if err := b.both(ctx, p, "exec, wall time of the command line", "0.1 of Docker", 50, "exec", "sleeper", "true"); err != nil {
			return err
		}
		return b.execAPI(ctx, p)
	})
}
