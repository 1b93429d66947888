package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestNameFilter: names are matched as Docker's users have them, with the ends marked above all.
func TestNameFilter(t *testing.T) {
	f := newFake(t)
	f.containers.containers = []*api.Container{{Id: "1", Name: "web"}, {Id: "2", Name: "webadmin"}, {Id: "3", Name: "a.web"}}
	for pattern, want := range map[string]string{
		"web": "web webadmin a.web", "^web": "web webadmin", "^web$": "web", "^/web$": "web", "/web": "web webadmin",
		"w.b$": "web a.web", "[": "", "x|admin": "webadmin",
	} {
		r := f.run(t, "", "ps", "-a", "--filter", "name="+pattern, "--format", "{{.Names}}")
		if got := strings.Join(strings.Fields(r.out), " "); got != want || r.code != 0 {
			t.Errorf("name=%s: %q, want %q (%s)", pattern, got, want, r.err)
		}
	}
	for _, key := range []string{"^mine$", "i.e$"} {
		n := anyNetwork{local: &api.LocalNetwork{Name: "mine"}}
		if fl := (&filters{values: map[string][]string{"name": {key}}}); !matchNetwork(n, fl) {
			t.Errorf("network ls --filter name=%s does not find mine", key)
		}
		n.local.Name = "mines"
		if fl := (&filters{values: map[string][]string{"name": {key}}}); matchNetwork(n, fl) {
			t.Errorf("network ls --filter name=%s finds mines", key)
		}
	}
}

func TestPublishFilter(t *testing.T) {
	k := &api.Container{Ports: []*api.PortBinding{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}}
	for ref, want := range map[string]bool{"8080": true, "8000-8100": true, "8080/tcp": true, "8080/udp": false, "80": false, "8081-8100/tcp": false} {
		if publishes(k, ref) != want {
			t.Errorf("publish=%s: %t", ref, !want)
		}
	}
}

// TestMomentZero: 0 is 1970, all of a log, while 10s is that long ago.
func TestMomentZero(t *testing.T) {
	now := time.Unix(1e9, 0)
	for text, want := range map[string]int64{"0": 0, "0s": 1e9, "10s": 1e9 - 10, "10": 10} {
		if got, err := parseMoment("since", text, now); err != nil || got.AsTime().Unix() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// TestNoHealth: scripts ask {{if .State.Health}} before they look into it.
func TestNoHealth(t *testing.T) {
	if h := containerStateObject(&api.Container{StartedAt: timestamppb.Now()}).Health; h != nil {
		t.Errorf("a container without a health check has Health %v", h)
	}
}
