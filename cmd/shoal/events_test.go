package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestEvents(t *testing.T) {
	t.Setenv("TZ", "UTC")
	f := newFake(t)
	when := timestamppb.New(time.Unix(1700000000, 5))
	web, box := strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	attributes := map[string]string{"name": "web", "image": "box:1", "tier": "front"}
	f.containers.events = []*api.Event{
		{Type: "container", Action: "start", Id: web, Attributes: attributes, Time: when},
		{Type: "container", Action: "health_status: healthy", Id: web, Attributes: attributes, Time: when},
		{Type: "image", Action: "tag", Id: box, Attributes: map[string]string{"name": "box:1"}, Time: when},
		{Type: "network", Action: "connect", Id: "net1", Attributes: map[string]string{"container": web, "name": "bridge"}, Time: when},
		{Type: "volume", Action: "create", Id: "vol", Time: when},
	}
	r := f.run(t, "", "events", "--filter", "event=start")
	if want := " container start " + web + " (image=box:1, name=web, tier=front)\n"; !strings.HasSuffix(r.out, want) || !strings.Contains(r.out, ":20.000000005") {
		t.Errorf("%+v", r)
	}
	for filter, want := range map[string]string{
		"":                    "start health_status: healthy tag connect create",
		"event=health_status": "health_status: healthy",
		"type=image":          "tag",
		"container=web":       "start health_status: healthy",
		"container=aaaa":      "start health_status: healthy connect",
		"image=box":           "start health_status: healthy tag",
		"image=bbbb":          "tag",
		"label=tier=front":    "start health_status: healthy",
		"label=tier=back":     "",
		"network=bridge":      "connect",
		"volume=vol":          "create",
		"scope=swarm":         "",
	} {
		args := []string{"system", "events", "--format", "{{.Action}}"}
		if filter != "" {
			args = append(args, "-f", filter)
		}
		r := f.run(t, "", args...)
		if got := strings.Join(strings.Split(strings.TrimSpace(r.out), "\n"), " "); got != want || r.code != 0 {
			t.Errorf("%s: %q %q", filter, got, r.err)
		}
	}
	r = f.run(t, "", "events", "--format", "json", "-f", "event=start")
	if want := `{"status":"start","id":"` + web + `","from":"box:1","Type":"container","Action":"start","Actor":{"ID":"` + web + `","Attributes":{"image":"box:1","name":"web","tier":"front"}},"scope":"local","time":1700000000,"timeNano":1700000000000000005}` + "\n"; r.out != want {
		t.Errorf("%q", r.out)
	}
	r = f.run(t, "", "events", "--format", "{{.Actor.ID}} {{.Actor.Attributes.name}}", "-f", "type=volume")
	if r.out != "vol \n" {
		t.Errorf("%+v", r)
	}
	for args, want := range map[string]string{
		"events --filter color=red": "unknown filter", "events --filter type=plugin": "use one of container, image, network, volume",
		"events --format {{.Nope}}": "there is no field .Nope", "events --since yesterday": "invalid value",
	} {
		if r := f.run(t, "", strings.Fields(args)...); r.code == 0 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
