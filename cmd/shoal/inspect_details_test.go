package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestGivenEnv(t *testing.T) {
	k := &api.Container{Hostname: "aa", Env: []string{"PATH=/bin", "HOSTNAME=aa", "TERM=xterm", "A=b"}, Spec: &api.ContainerSpec{Env: []string{"A=b"}}}
	if diff := cmp.Diff([]string{"PATH=/bin", "A=b"}, givenEnv(k)); diff != "" {
		t.Error(diff)
	}
	k.Spec.Env = append(k.Spec.Env, "HOSTNAME=aa")
	if diff := cmp.Diff([]string{"PATH=/bin", "HOSTNAME=aa", "A=b"}, givenEnv(k)); diff != "" {
		t.Error(diff)
	}
}

// TestInspectForScripts: what scripts ask of docker inspect is answered, of a container that is not running too.
func TestInspectForScripts(t *testing.T) {
	stopped := &api.Container{
		Id: strings.Repeat("c", 64), Name: "db", Driver: "overlay", Networks: []*api.LocalNetworkAttachment{{Network: "mine", Ip: "10.1.0.9"}},
		Spec: &api.ContainerSpec{Limits: &api.ContainerLimits{MemoryBytes: 8 << 20}, Mounts: []*api.Mount{{Type: api.Mount_VOLUME, Source: "data", Target: "/d"}}},
	}
	o := containerObject(stopped)
	addDetails(o, &api.ContainerDetails{
		Directory: "/dir", Root: "/root", UpperDir: "/up", LowerDirs: []string{"/l1", "/l2"},
		Healthcheck: &api.HealthConfig{Test: []string{"CMD", "true"}, Interval: durationpb.New(time.Second)},
	})
	for template, want := range map[string]string{
		"{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.IPAddress}}{{$v.IPAMConfig.IPv4Address}}{{end}}": "mine 10.1.0.9",
		"{{json .HostConfig.Binds}}":                           `["data:/d"]`,
		"{{.HostConfig.MemorySwap}} {{.HostConfig.IpcMode}}":   "16777216 private",
		"{{.GraphDriver.Data.UpperDir}} {{.GraphDriver.Name}}": "/up overlay",
		"{{.GraphDriver.Data.LowerDir}} {{.HostsPath}}":        "/l1:/l2 /dir/hosts",
		"{{json .Config.Healthcheck}}":                         `{"Interval":1000000000,"Test":["CMD","true"]}`,
		"{{.Platform}} {{json .HostConfig.MemorySwappiness}}":  "linux null",
	} {
		tmpl, err := parseTemplate(template)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := tmpl.Execute(&b, o); err != nil || b.String() != want {
			t.Errorf("%s: %q, %v; want %q", template, b.String(), err, want)
		}
	}
}
