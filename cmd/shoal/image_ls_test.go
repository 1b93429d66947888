package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestImageFilters(t *testing.T) {
	f := newFake(t)
	now := time.Now()
	f.images.images = []*api.Image{
		{Id: "sha256:" + strings.Repeat("1", 64), Tags: []string{"old:1"}, CreatedAt: timestamppb.New(now.Add(-3 * time.Hour))},
		{Id: "sha256:" + strings.Repeat("2", 64), Tags: []string{"new:1"}, CreatedAt: timestamppb.New(now.Add(-time.Hour))},
	}
	for filter, want := range map[string]string{"until=2h": "old", "since=old:1": "new", "before=new:1": "old", "until=4h": ""} {
		r := f.run(t, "", "images", "--filter", filter, "--format", "{{.Repository}}")
		if strings.TrimSpace(r.out) != want || r.code != 0 {
			t.Errorf("%s: %+v, want %q", filter, r, want)
		}
	}
	for _, filter := range []string{"since=gone", "before=gone", "until=tomorrow"} {
		if r := f.run(t, "", "images", "--filter", filter); r.code != 1 {
			t.Errorf("%s: %+v", filter, r)
		}
	}
}

func TestImageComment(t *testing.T) {
	config := `{"author":"me","config":{},"history":[{"comment":"first"},{"comment":"by hand"}]}`
	o, err := imageObject(&api.Image{Id: "sha256:1", Config: []byte(config)})
	if err != nil || o.Comment != "by hand" {
		t.Errorf("comment %v, %v", o.Comment, err)
	}
}

func TestDanglingNetworks(t *testing.T) {
	f := newFake(t)
	f.containers.networks = []*api.LocalNetwork{{Id: "1", Name: "bridge", Driver: "bridge"}, {Id: "2", Name: "idle", Driver: "bridge"}, {Id: "3", Name: "busy", Driver: "bridge"}}
	f.containers.containers = []*api.Container{{Id: "k", Name: "web", Networks: []*api.LocalNetworkAttachment{{Network: "busy"}}}}
	for value, want := range map[string]string{"true": "idle", "false": "bridge busy"} {
		r := f.run(t, "", "network", "ls", "--filter", "scope=local", "--filter", "dangling="+value, "--format", "{{.Name}}")
		if got := strings.Join(strings.Fields(r.out), " "); got != want {
			t.Errorf("dangling=%s: %q, want %q (%s)", value, got, want, r.err)
		}
	}
	if r := f.run(t, "", "network", "rm", "-f", "gone"); r.code != 0 || r.out != "" {
		t.Errorf("network rm -f of what is not there: %+v", r)
	}
}
