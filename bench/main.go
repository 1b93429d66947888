//go:build linux

// Bench measures Shoal beside its peers in one run, prints a table and writes docs/benchmarks.md.
//
// Every figure stands beside a peer's or a floor of the same run, because the machine is shared and absolute values
// move with it. What cannot be measured is shown with its reason, never left out.
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

// row is one line of the table. Values are for a person, with their unit.
type row struct {
	what, ours, peer, ratio, target string
}

type bench struct {
	bin  string
	web  string
	runs int
	rows []row
}

func main() {
	out := flag.String("o", "docs/benchmarks.md", "file to write")
	only := flag.String("only", "", "sections to run, comma separated; empty: all")
	runs := flag.Int("n", 3, "runs of what is measured more than once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *out, *only, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, only string, runs int) error {
	if os.Getuid() != 0 {
		return errors.New("needs root: network namespaces, cgroups and mounts are made for real")
	}
	bin, err := filepath.Abs("bin/shoal")
	if err != nil {
		return err
	}
	web, err := filepath.Abs("bin/demo-web")
	if err != nil {
		return err
	}
	b := &bench{bin: bin, web: web, runs: runs}
	for _, s := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"runtime", b.runtime}, {"containers", b.containers}, {"exec", b.exec}, {"bare", b.bare}, {"many", b.many}, {"memory", b.memory}, {"service", b.service}, {"answer", b.answer}, {"failure", b.failure}, {"path", b.path},
	} {
		if only != "" && !strings.Contains(","+only+",", ","+s.name+",") {
			continue
		}
		fmt.Fprintf(os.Stderr, "== %s\n", s.name)
		if err := s.run(ctx); err != nil {
			b.add(row{what: s.name, ours: "not measured: " + oneLine(err)})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	text := b.table()
	fmt.Print(text)
	if only != "" {
		return nil // a part is no report
	}
	return os.WriteFile(out, []byte(page(text)), 0o644)
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprintf(os.Stderr, "   %-55s %-22s %-22s %s\n", r.what, r.ours, r.peer, r.ratio)
}

func (b *bench) table() string {
	var s strings.Builder
	s.WriteString("| what | Shoal | beside it, same run | ratio | target |\n|---|---|---|---|---|\n")
	for _, r := range b.rows {
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s |\n", r.what, r.ours, r.peer, r.ratio, r.target)
	}
	return s.String()
}

func page(table string) string {
	var u syscall.Utsname
	_ = syscall.Uname(&u)
	var release []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	return "# Benchmarks\n\nWritten by `make bench`; do not edit. Absolute values move with the machine, ratios hold better: each figure stands beside\n" +
		"a peer's or a direct one of the same run. Medians where a thing was measured more than once.\n\n" +
		fmt.Sprintf("%s, kernel %s, %d CPUs.\n\n", time.Now().UTC().Format("2006-01-02"), release, cpus()) + table +
		"\nHow: `bench/`. Hosts are network namespaces on a bridge of one machine, so nothing here has a real wire's latency.\n"
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "|", "/")), " ")
}

// lab makes n hosts in one cluster with the image web:1.
func (b *bench) lab(ctx context.Context, name string, n, managers int) (*hosts.Lab, error) {
	l, err := hosts.New(hosts.Config{Name: name, Dir: "/tmp/shoal-" + name, Bin: b.bin, N: n})
	if err != nil {
		return nil, err
	}
	err = l.Start(ctx)
	if err == nil {
		err = l.Join(ctx, managers)
	}
	if err == nil {
		err = l.WebImage(ctx, b.web, "web:1")
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
