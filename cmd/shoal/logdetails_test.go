package main

import (
	"strings"
	"testing"
)

// TestLogDetails: attributes in order, what would stand in the way escaped, and an empty column where there are none.
func TestLogDetails(t *testing.T) {
	f := newFake(t)
	for args, want := range map[string]string{
		"logs --details web":    "b=x+y%3D%2C%0A,tier=web one\n",
		"logs -t --details web": "2023-11-14T22:13:20.000000005Z b=x+y%3D%2C%0A,tier=web one\n",
		"logs web":              "one\n",
	} {
		if r := f.run(t, "", strings.Fields(args)...); r.out != want || strings.HasPrefix(r.err, " ") && args == "logs web" {
			t.Errorf("%s: %q and %q, want %q", args, r.out, r.err, want)
		}
	}
	if r := f.run(t, "", "logs", "--details", "web"); r.err != " two\n" {
		t.Errorf("a line without attributes: %q", r.err)
	}
}
