package main

import (
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestNetworkNames: a container that was disconnected from its last network has none.
func TestNetworkNames(t *testing.T) {
	on := []*api.LocalNetworkAttachment{{Network: "mine"}}
	for want, k := range map[string]*api.Container{
		"":     {NetworkMode: "mine"},
		"mine": {NetworkMode: "mine", Networks: on},
		"host": {NetworkMode: "host"},
	} {
		if got := strings.Join(networkNamesOf(k), ","); got != want {
			t.Errorf("%v: %q, want %q", k, got, want)
		}
	}
}

// TestQuietFormat: ps -q shows IDs whatever the format, and says so, as Docker's.
func TestQuietFormat(t *testing.T) {
	f := newFake(t)
	populate(f)
	r := f.run(t, "", "ps", "-a", "-q", "--format", "{{.Names}}")
	if r.code != 0 || !strings.HasPrefix(r.out, "aaaaaaaaaaaa\n") || !strings.HasPrefix(r.err, "WARNING: Ignoring custom format") {
		t.Errorf("%+v", r)
	}
}
