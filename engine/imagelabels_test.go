//go:build linux

package engine

import (
	"maps"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestImageLabels: a container has its image's labels, which its own go before; what was asked for stays as it was.
func TestImageLabels(t *testing.T) {
	asked := &api.ContainerSpec{Image: "x", Labels: map[string]string{"a": "mine", "b": "mine"}}
	got := withLabels(asked, map[string]string{"b": "image", "c": "image"})
	if want := map[string]string{"a": "mine", "b": "mine", "c": "image"}; !maps.Equal(got.Labels, want) || got.Image != "x" {
		t.Errorf("labels %v, want %v", got.Labels, want)
	}
	if len(asked.Labels) != 2 {
		t.Errorf("the request was changed: %v", asked.Labels)
	}
}
