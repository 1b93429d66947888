package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
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
			for part := range strings.SplitSeq(comment.ReplaceAllString(line, ""), " | ") {
				args := word.FindAllString(part, -1)
				if len(args) > 0 && args[0] == "sudo" {
					args = args[1:]
				}
				if len(args) < 2 || args[0] != "shoal" || strings.HasPrefix(args[1], "(") {
					continue // or a drawing
				}
				seen++
				if err := parses(args[1:]); err != nil {
					t.Errorf("%s: %s: %v", filepath.Base(page), strings.TrimSpace(part), err)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("found %d commands in the pages: has their form changed?", seen)
	}
}

func parses(args []string) error {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "&" }) // in the background
	for i, a := range args {
		args[i] = strings.Trim(a, "'")
	}
	root := newRootCommand(&cli{out: io.Discard, err: io.Discard}, nil)
	cmd, rest, err := root.Traverse(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
