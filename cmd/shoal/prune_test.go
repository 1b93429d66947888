package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestPrune(t *testing.T) {
	f := newFake(t)
	f.containers.pruned = &api.PruneResponse{Reclaimed: 2048}
	const ask = "\nAre you sure you want to continue? [y/N] "
	for _, tc := range []struct {
		args, warning string
		want          *api.PruneRequest
	}{
		{"container prune", "WARNING! This will remove all stopped containers.", &api.PruneRequest{Containers: true}},
		{"image prune", "WARNING! This will remove all dangling images.", &api.PruneRequest{Images: true}},
		{"image prune -a", "WARNING! This will remove all images without at least one container associated to them.", &api.PruneRequest{AllImages: true}},
		{"image prune --filter dangling=true --filter until=1h", "WARNING! This will remove all dangling images.", &api.PruneRequest{Images: true, Filters: []string{"until=1h"}}},
		{"image prune --filter dangling=0", "WARNING! This will remove all images without at least one container associated to them.", &api.PruneRequest{AllImages: true}},
		{"volume prune --filter all=1", "WARNING! This will remove all local volumes not used by at least one container.", &api.PruneRequest{AllVolumes: true}},
		{"volume prune", "WARNING! This will remove anonymous local volumes not used by at least one container.", &api.PruneRequest{Volumes: true}},
		{"volume prune --all", "WARNING! This will remove all local volumes not used by at least one container.", &api.PruneRequest{AllVolumes: true}},
		{"network prune", "WARNING! This will remove all custom networks not used by at least one container.", &api.PruneRequest{Networks: true}},
		{"system prune -a --volumes --filter label!=keep", `WARNING! This will remove:
  - all stopped containers
  - all networks not used by at least one container
  - all anonymous volumes not used by at least one container
  - all images without at least one container associated to them

  Items to be pruned will be filtered with:
  - label!=keep
`, &api.PruneRequest{Containers: true, Networks: true, Volumes: true, AllImages: true, Filters: []string{"label!=keep"}}},
	} {
		r := f.run(t, "n\n", strings.Fields(tc.args)...)
		if r.code != 0 || r.out != tc.warning+ask || r.err != "" || f.containers.prune != nil {
			t.Errorf("%s, no: %+v", tc.args, r)
		}
		r = f.run(t, "Y\n", strings.Fields(tc.args)...)
		total := "Total reclaimed space: 2.048kB\n"
		if tc.want.Networks && !tc.want.Containers {
			total = ""
		}
		if r.code != 0 || r.out != tc.warning+ask+total || !proto.Equal(f.containers.prune, tc.want) {
			t.Errorf("%s, yes: %+v, asked for %v", tc.args, r, f.containers.prune)
		}
		f.containers.prune = nil
	}
	f.containers.pruned = &api.PruneResponse{Containers: []string{"a", "b"}, Images: []string{"untagged: x:1", "deleted: sha256:1"}}
	r := f.run(t, "", "system", "prune", "-f")
	if want := "Deleted Containers:\na\nb\n\nDeleted Images:\nuntagged: x:1\ndeleted: sha256:1\n\nTotal reclaimed space: 0B\n"; r.out != want {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{
		"image prune --filter dangling=x": "use true or false", "image prune -a --filter dangling=true": "contradict",
		"container prune --filter dangling=true": "use label, label! or until", "volume prune --filter dangling=true": "use all, label",
	} {
		if r := f.run(t, "", strings.Fields(args)...); r.code == 0 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := f.run(t, "", "container", "prune", "--filter", "color=red"); r.code != exitUsage || !strings.Contains(r.err, "unknown filter") {
		t.Errorf("%+v", r)
	}
}
