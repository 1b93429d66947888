package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	comment = regexp.MustCompile(`\s+#.*`)
	word    = regexp.MustCompile(`'[^']*'|\S+`)
)

// TestPagesShowCommandsThatExist parses every indented `shoal ...` of the README and the pages as the program would.
func TestPagesShowCommandsThatExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, "    ") || filepath.Base(page) == "cli.md" {
				continue
			}
			for _, args := range commandsIn(line) {
				seen++
				if _, err := parses(args); err != nil {
					t.Errorf("%s: shoal %s: %v", filepath.Base(page), strings.Join(args, " "), err)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("found %d commands in the pages: has their form changed?", seen)
	}
}

// commandsIn finds the `shoal ...` of a line, which may stand on either side of a pipe, without the first word.
func commandsIn(line string) (found [][]string) {
	for part := range strings.SplitSeq(comment.ReplaceAllString(line, ""), " | ") {
		args := word.FindAllString(part, -1)
		if len(args) > 0 && args[0] == "sudo" {
			args = args[1:]
		}
		if len(args) < 2 || args[0] != "shoal" || strings.HasPrefix(args[1], "(") {
			continue // or a drawing
		}
		found = append(found, args[1:])
	}
	return found
}

// parses says which command a line means, or what is wrong with it.
func parses(args []string) (*cobra.Command, error) {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "&" }) // in the background
	if i := slices.IndexFunc(args, func(a string) bool { return a == ">" || a == "<" }); i >= 0 {
		args = args[:i] // the rest is a file
	}
	for i, a := range args {
		args[i] = strings.Trim(a, "'")
	}
	root := newRootCommand(&cli{out: io.Discard, err: io.Discard}, nil)
	cmd, rest, err := root.Traverse(args)
	if err != nil {
		return nil, err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return nil, err
	}
	return cmd, cmd.ValidateArgs(cmd.Flags().Args())
}
