package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestShortHelp: -h is help where it is no other option, as in Docker.
func TestShortHelp(t *testing.T) {
	f := newFake(t)
	for _, args := range []string{"-h", "ps -h", "volume -h", "image ls -h"} {
		if r := f.run(t, "", strings.Fields(args)...); r.code != 0 || r.err != "" || !strings.Contains(r.out, "Usage:") {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := f.run(t, "", "run", "-h"); r.code != exitUsage || !strings.Contains(r.err, "needs an argument") {
		t.Errorf("run -h is --hostname: %+v", r)
	}
}

// TestExamples: the help of every verb shows one to three lines that the program takes and that use the verb itself.
func TestExamples(t *testing.T) {
	seen := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			walk(child)
		}
		if cmd.HasSubCommands() || cmd.Hidden {
			return
		}
		seen++
		t.Run(cmd.CommandPath(), func(t *testing.T) { checkExamples(t, cmd) })
	}
	walk(newRootCommand(&cli{out: io.Discard, err: io.Discard}, nil))
	if seen < 70 {
		t.Errorf("found %d verbs: has the tree changed?", seen)
	}
}

func checkExamples(t *testing.T, cmd *cobra.Command) {
	var help bytes.Buffer
	printHelp(cmd, &help)
	_, text, ok := strings.Cut(help.String(), "\nExamples:\n")
	if !ok {
		t.Fatalf("no examples in its help:\n%s", help.String())
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 3 {
		t.Errorf("%d lines of examples, more than three", len(lines))
	}
	for _, line := range lines {
		if example, indented := strings.CutPrefix(line, "  "); !indented || strings.HasPrefix(example, " ") {
			t.Errorf("%q is not indented by two spaces", line)
		}
		if !usesVerb(t, line, cmd) {
			t.Errorf("%q does not use the verb", line)
		}
	}
}

// usesVerb parses what a line runs. A verb with two places in the tree has one sentence for both, and no other verb has it.
func usesVerb(t *testing.T, line string, cmd *cobra.Command) (used bool) {
	for _, args := range commandsIn(line) {
		found, err := parses(args)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		used = used || found.Short == cmd.Short
	}
	return used
}
