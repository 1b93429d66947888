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
		Mounts: []*api.MountPoint{{Type: "bind", Source: "/a", Destination: "/b"}},
		Id:     strings.Repeat("c", 64), Name: "db", Driver: "overlay", Networks: []*api.LocalNetworkAttachment{{Network: "mine", Ip: "10.1.0.9"}},
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
		"{{json .Config.Healthcheck}}":                         `{"Test":["CMD","true"],"Interval":1000000000}`,
		"{{.ID}} {{slice .Id 0 2}}":                            strings.Repeat("c", 64) + " cc",
		"{{.HostConfig.NanoCPUs}} {{.HostConfig.NanoCpus}}":    "0 0",
		"{{.SizeRw}} {{.Config.StopTimeout}} {{.ExecIDs}}":     "<nil> <nil> []",
		"{{range .Mounts}}{{.Name}} {{.Driver}}{{end}}":        " ",
		"{{.HostConfig.RestartPolicy}} {{.State.Health}}":      "{no 0} <nil>",
		"{{.NetworkSettings.Networks.mine.DriverOpts}}":        "map[]",
		"{{if .State.Health}}yes{{else}}no{{end}}":             "no",
		"{{json .State}}":                                      `{"Status":"created","Running":false,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":0,"ExitCode":0,"Error":"","StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}`,
		"{{json .HostConfig.LogConfig}}":                       `{"Type":"json-file","Config":{}}`,
		"{{index .NetworkSettings.Ports \"80/tcp\"}}":          "[]",
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

// TestInspectEmptyImage: what an image does not say is empty, not missing.
func TestInspectEmptyImage(t *testing.T) {
	o, err := imageObject(&api.Image{Id: "sha256:1", Config: []byte(`{"config":{"Cmd":["sh"],"Healthcheck":{"Test":["CMD","x"],"Retries":2}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := parseTemplate("{{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.User}} {{len .Config.Volumes}} {{.Config.Healthcheck.Retries}} {{json .Config}}")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	want := `[sh] []  0 2 {"Cmd":["sh"],"Healthcheck":{"Test":["CMD","x"],"Retries":2}}`
	if err := tmpl.Execute(&b, o); err != nil || b.String() != want {
		t.Errorf("%q, %v; want %q", b.String(), err, want)
	}
}

// TestInspectJSON: -f json is one list, whatever was found; what is no template ends with a code of its own.
func TestInspectJSON(t *testing.T) {
	f := newFake(t)
	populate(f)
	for args, want := range map[string]string{"volume inspect -f json data": `[{"CreatedAt":`, "volume inspect -f json gone": "[]\n"} {
		if r := f.run(t, "", strings.Fields(args)...); !strings.HasPrefix(r.out, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := f.run(t, "", "volume", "inspect", "-f", "{{", "data"); r.code != exitTemplate {
		t.Errorf("%+v", r)
	}
}
