package main

import (
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestImageViewRepeats: progress through a long file is one line, not one for each report.
func TestImageViewRepeats(t *testing.T) {
	var out strings.Builder
	v := newImageView(&out, false)
	for _, m := range []*api.ImageProgress{
		{Status: "Reading a", Current: 1}, {Status: "Reading a", Current: 2}, {Status: "Reading b"}, {Id: "x", Status: "Extracting"}, {Id: "x", Status: "Extracting"}, {Status: "Reading b"},
	} {
		v.show(m)
	}
	if want := "Reading a\nReading b\nx: Extracting\nReading b\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
