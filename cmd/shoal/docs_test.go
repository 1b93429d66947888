package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

const docsHead = `# Command line

What every command of ` + "`shoal`" + ` prints for ` + "`--help`" + `. This page is written by a test (` + "`go test ./cmd/shoal -run Docs -update`" + `) and
checked by the same test, so it is what the program says. The daemon's own flags are in ` + "`shoal daemon --help`" + `.

Names, flags, defaults, columns and exit codes are Docker's; [docker-differences.md](docker-differences.md) lists where they are not.

- Which daemon: ` + "`-H`" + `, else ` + "`SHOAL_HOST`" + `, else ` + "`unix:///run/shoal/shoal.sock`" + `. ` + "`HOST:PORT`" + ` is reached over mutual TLS.
- Exit codes: 0; 1 for a command that failed; 125 for wrong options and for a container that could not be made or
  started; 126 and 127 for a command in a container that cannot be executed or is not there; else the container's own.
- ` + "`--format`" + ` takes ` + "`json`" + ` (one object a line), ` + "`table TEMPLATE`" + ` or a Go template. Fields are those of the table's columns and
  more: a wrong one is refused with the list of right ones. Functions: json, split, join, title, lower, upper, pad, truncate.
- ` + "`inspect`" + ` prints a JSON array. Containers, images, networks, volumes, services and nodes have the shape that Docker's
  have; parts that Docker does not know are the fields of ` + "`proto/api`" + ` in PascalCase. In JSON, fields of those parts that say
  nothing (empty, zero, false) are left out; templates find them all.
- An error is one line on standard error. Verbs that take several names go on after one that failed and exit with 1.
`

// TestDocs checks docs/cli.md, and with it the help of every command, against the program.
func TestDocs(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(docsHead)
	root := newRootCommand(&cli{out: io.Discard, err: io.Discard}, nil)
	writeDocs(&b, root)
	const path = "../../docs/cli.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("docs/cli.md is not what --help says (run with -update if that is right):\n%s", diff)
	}
}

func writeDocs(w io.Writer, cmd *cobra.Command) {
	if cmd.Name() == "daemon" || cmd.Hidden {
		return // its defaults name this host; its section in the documentation is its own
	}
	var help bytes.Buffer
	printHelp(cmd, &help)
	text := help.String()
	if cmd.Parent() == nil {
		text = withoutDaemon(text)
	}
	fmt.Fprintf(w, "\n## %s\n\n```text\n%s```\n", cmd.CommandPath(), text)
	for _, child := range cmd.Commands() {
		writeDocs(w, child)
	}
}

// withoutDaemon makes the list of commands the same on every system.
func withoutDaemon(s string) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		if !strings.HasPrefix(line, "  daemon ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// TestHelpFlag: --help works everywhere and -h is nobody's help.
func TestHelpFlag(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"service", "--help"}, {"service", "create", "--help"}, {"service"}} {
		r := runCLI(strings.NewReader(""), args...)
		if r.code != 0 || !strings.HasPrefix(r.out, "Usage:  shoal") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestAliases: every alias of a help text really exists.
func TestAliases(t *testing.T) {
	root := newRootCommand(&cli{out: io.Discard, err: io.Discard}, nil)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, path := range strings.Split(cmd.Annotations[aliasesKey], ", ") {
			found, rest, err := root.Find(strings.Fields(strings.TrimPrefix(path, "shoal")))
			if err != nil || len(rest) > 0 || found == root && path != "" {
				t.Errorf("%s names the alias %q, which does not exist", cmd.CommandPath(), path)
			}
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(root)
}
