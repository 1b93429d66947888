//go:build linux

package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestPruneFilters(t *testing.T) {
	now := timestamppb.Now()
	old := timestamppb.New(time.Now().Add(-48 * time.Hour))
	labels := map[string]string{"a": "1", "b": "2"}
	for _, tc := range []struct {
		filters string
		created *timestamppb.Timestamp
		want    bool
	}{
		{"", now, true}, {"label=a", now, true}, {"label=a=1", now, true}, {"label=a=2", now, false}, {"label=a label=c", now, false},
		{"label!=a", now, false}, {"label!=a=2", now, true}, {"label!=c label=b", now, true}, {"until=24h", now, false}, {"until=24h", old, true},
		{"until=2020-01-01", old, false}, {"until=2099-01-01T00:00:00Z", now, true}, {"until=1500000000", old, false},
	} {
		f, err := parsePruneFilters(strings.Fields(tc.filters))
		if err != nil || f.match(labels, tc.created) != tc.want {
			t.Errorf("%s: want %v, %v", tc.filters, tc.want, err)
		}
	}
	for _, bad := range []string{"label", "color=red", "until=soon", "until=1h until=2h"} {
		if _, err := parsePruneFilters(strings.Fields(bad)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestPrune(t *testing.T) {
	l := openLab(t)
	volume := func(name string) []*api.Mount {
		return []*api.Mount{{Type: api.Mount_VOLUME, Source: name, Target: "/data"}}
	}
	r := request("ended", "echo 123456789 >/file")
	r.Spec.Labels = map[string]string{"keep": ""}
	r.Spec.Mounts = volume("named")
	ended := l.run(r)
	l.ended(ended)
	r = request("running", "sleep 1000")
	r.Spec.Mounts = volume("used")
	l.run(r)
	for _, v := range []*api.Volume{{Name: "free"}, {Anonymous: true}} {
		if _, err := l.CreateVolume(l.ctx(), v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.CreateNetwork(l.ctx(), &api.LocalNetwork{Name: "idle"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "ended"}); err != nil { // an image without a name
		t.Fatal(err)
	}
	if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "ended", Image: "other:1"}); err != nil {
		t.Fatal(err)
	}
	usage, err := l.DiskUsage(l.ctx())
	if err != nil || len(usage.Images) != 3 || len(usage.Containers) != 2 || len(usage.Volumes) != 4 || usage.Layers == 0 {
		t.Errorf("%v, %v", usage, err)
	}
	if k := usage.GetContainers()[1]; k.SizeRw != 10 || k.SizeRootFs < usage.Layers-10 {
		t.Errorf("sizes %d and %d", k.SizeRw, k.SizeRootFs)
	}
	prune := func(r *api.PruneRequest) *api.PruneResponse {
		t.Helper()
		done, err := l.Prune(l.ctx(), r)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if got := prune(&api.PruneRequest{Containers: true, Filters: []string{"label!=keep"}}); len(got.Containers) != 0 {
		t.Errorf("%v", got)
	}
	if got := prune(&api.PruneRequest{Containers: true}); !slices.Equal(got.Containers, []string{ended}) || got.Reclaimed != 10 {
		t.Errorf("%v", got)
	}
	if got := prune(&api.PruneRequest{Networks: true}); !slices.Equal(got.Networks, []string{"idle"}) {
		t.Errorf("%v", got)
	}
	if got := prune(&api.PruneRequest{Volumes: true}); len(got.Volumes) != 1 || !isID(got.Volumes[0]) {
		t.Errorf("%v", got)
	}
	if got := prune(&api.PruneRequest{AllVolumes: true}); !slices.Equal(got.Volumes, []string{"free", "named"}) {
		t.Errorf("%v", got)
	}
	if got := prune(&api.PruneRequest{Images: true}); len(got.Images) != 1 || !strings.HasPrefix(got.Images[0], "deleted: sha256:") {
		t.Errorf("%v", got)
	}
	got := prune(&api.PruneRequest{AllImages: true})
	if len(got.Images) != 3 || got.Images[0] != "untagged: other:1" || got.Reclaimed != 10 {
		t.Errorf("%v", got)
	}
	if images, err := l.Images().List(l.ctx()); err != nil || len(images) != 1 || images[0].Tags[0] != "box:1" {
		t.Errorf("%v, %v: the image of a container stays", images, err)
	}
	if _, err := l.Prune(l.ctx(), &api.PruneRequest{Volumes: true, Filters: []string{"until=1h"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("volumes until: %v", err)
	}
}
