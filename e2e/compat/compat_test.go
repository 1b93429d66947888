//go:build linux

// Package compat runs the same commands against Docker and against Shoal, as a user with Docker's habits types them, and
// compares what they print. testdata/commands.txt is the script and its outcome: for every command either "same", or both
// outputs and the reason why ours differs. `make compat` runs it; it needs root and Debian's docker.io.
package compat

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/e2e/hosts/hoststest"
)

var update = flag.Bool("update", false, "write the outcome into testdata/commands.txt; reasons stay")

// entry is one command of the script.
type entry struct {
	command string
	why     []string // lines that begin with #
	outcome string
}

const script = "testdata/commands.txt"

func TestSameAsDocker(t *testing.T) {
	if os.Getenv("SHOAL_COMPAT") == "" {
		t.Skip("SKIPPED: the comparison with Docker needs root and docker.io: run it with `make compat`")
	}
	shoal, docker := engines(t)
	entries := parse(t)
	for i := range entries {
		e := &entries[i]
		theirs, ours := run(t, docker, e.command), run(t, shoal, e.command)
		got := outcome(theirs, ours)
		if got != "same\n" && len(e.why) == 0 {
			t.Errorf("%s\ndiffers from Docker for no reason that testdata/commands.txt gives:\n%s", e.command, got)
		}
		if !*update && got != e.outcome {
			t.Errorf("%s: not the outcome in testdata/commands.txt (-want +got):\n%s", e.command, cmp.Diff(e.outcome, got))
		}
		e.outcome = got
	}
	if *update {
		write(t, entries)
	}
}

// command makes a command line from arguments.
type command func(ctx context.Context, args ...string) *exec.Cmd

// engines starts both, each on a host of its own with the image box:1, Debian's busybox.
func engines(t *testing.T) (shoal, docker command) {
	t.Helper()
	l := hoststest.Lab(t, "../../bin/shoal", 1)
	d, err := hosts.StartDocker(t.Context(), l.Client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	archive, err := hosts.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Hosts[0].CLIWith(t.Context(), bytes.NewReader(archive), "import", "--change", `CMD ["sh"]`, "-", "box:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.CLI(t.Context(), bytes.NewReader(archive), "import", "--change", `CMD ["sh"]`, "-", "box:1"); err != nil {
		t.Fatal(err)
	}
	return l.Hosts[0].Command, d.Command
}

// run runs a line of the script and returns what it printed and how it ended, without what differs every time. "!sleep" waits.
func run(t *testing.T, c command, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	line, input, hasInput := strings.Cut(line, " <<< ")
	cmd := c(ctx, words(line)...)
	if hasInput {
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(input, `\n`, "\n"))
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	text := normal(out.String())
	if strings.HasPrefix(line, "diff ") { // in no order that lasts
		lines := strings.SplitAfter(text, "\n")
		slices.Sort(lines)
		text = strings.Join(lines, "")
	}
	if errs.Len() > 0 {
		text += "stderr: " + normal(errs.String())
	}
	if code != 0 {
		text += fmt.Sprintf("exit code %d\n", code)
	}
	return text
}

// words splits a line at blanks, except within single quotes.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// moments are what no two runs have in common.
var moments = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b(sha256:)?[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`(About |Less than )?(an?|[0-9]+) (second|minute)s?( ago)?`), "TIME"},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z| [+-][0-9]{4} [A-Z]+)?`), "TIME"},
	{regexp.MustCompile(`\b[a-z]+_[a-z]+\b`), "NAME"},
	{regexp.MustCompile(`\b[0-9.]+ ?([kMG]i?)?B\b`), "SIZE"},
	{regexp.MustCompile(`[0-9.]+%`), "PERCENT"},
	{regexp.MustCompile(`(?m)^(root +)[0-9]+( +)[0-9]+( +)[0-9]+`), "${1}PID${2}PPID${3}C"},
	{regexp.MustCompile(`\b[0-9]{2}:[0-9]{2}( +\?)`), "CLOCK$1"},
	{regexp.MustCompile(`(?m)^[0-9]+ {4,}`), "PID  "},
	{regexp.MustCompile(`(?m)^[0-9]+: eth0`), "N: eth0"},
	{regexp.MustCompile(`\r`), ""},
	{regexp.MustCompile(` {2,}`), "  "},
	{regexp.MustCompile(`(?m) +$`), ""},
	{regexp.MustCompile(`\b(docker|shoal)\b`), "PROGRAM"},
	{regexp.MustCompile(`(?m)^-+\n`), ""},
}

func normal(s string) string {
	for _, m := range moments {
		s = m.pattern.ReplaceAllString(s, m.with)
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return s
}

func outcome(theirs, ours string) string {
	if theirs == ours {
		return "same\n"
	}
	var b strings.Builder
	for _, side := range []struct{ name, text string }{{"docker", theirs}, {"shoal ", ours}} {
		for line := range strings.Lines(side.text) {
			b.WriteString(side.name + "| " + line)
		}
		if side.text == "" {
			b.WriteString(side.name + "|\n")
		}
	}
	return b.String()
}

// parse reads the script: "$ command", "# why", outcome.
func parse(t *testing.T) []entry {
	t.Helper()
	data, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	var list []entry
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.HasPrefix(line, "$ "):
			list = append(list, entry{command: strings.TrimSpace(line[2:])})
		case len(list) == 0 || strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "# "):
			e := &list[len(list)-1]
			e.why = append(e.why, line)
		default:
			list[len(list)-1].outcome += line
		}
	}
	return list
}

func write(t *testing.T, entries []entry) {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "$ %s\n%s%s\n", e.command, strings.Join(e.why, ""), e.outcome)
	}
	if err := os.WriteFile(script, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
