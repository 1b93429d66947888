package main

import (
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestImageCommand: inspect shows the image's entrypoint and arguments where the container has none of its own.
func TestImageCommand(t *testing.T) {
	f := newFake(t)
	f.images.images = []*api.Image{{Id: "sha256:1", Tags: []string{"app:latest"}, Config: []byte(`{"config":{"Entrypoint":["/app"],"Cmd":["serve"]}}`)}}
	for want, spec := range map[string]*api.ContainerSpec{
		`["/app"] ["serve"]`: {},
		`["/app"] ["x"]`:     {Args: []string{"x"}},
		`["sh"] null`:        {Entrypoint: []string{"sh"}},
	} {
		f.containers.containers = []*api.Container{{Id: strings.Repeat("c", 64), Name: "web", ImageId: "app", Spec: spec}}
		if r := f.run(t, "", "inspect", "-f", "{{json .Config.Entrypoint}} {{json .Config.Cmd}}", "web"); strings.TrimSpace(r.out) != want {
			t.Errorf("%v: %+v, want %s", spec, r, want)
		}
	}
}
