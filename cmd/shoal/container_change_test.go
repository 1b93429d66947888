package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestRenameAndTop(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "rename", "a", "b"); r.code != 0 || r.out != "" {
		t.Errorf("%+v", r)
	}
	r := f.run(t, "", "container", "top", "web", "-o", "pid,comm")
	if want := "UID                 PID                 CMD\nroot                42                  sleep 1000\n"; r.out != want {
		t.Errorf("got %q, %q", r.out, r.err)
	}
	if got := strings.Join(f.containers.calls, ";"); got != "rename a b;top web -o pid,comm" {
		t.Errorf("asked for %q", got)
	}
}

func TestUpdateCommand(t *testing.T) {
	f := newFake(t)
	r := f.run(t, "", "update", "--memory", "-1", "--cpus", "1.5", "--pids-limit", "0", "--restart", "on-failure:3", "--cgroup-conf", "memory.high=64M", "--cpu-rt-runtime", "5000", "web")
	if r.code != 0 || r.out != "web\n" || !strings.Contains(r.err, "no swap") {
		t.Errorf("%+v", r)
	}
	want := &api.UpdateContainerRequest{
		Ref: "web", Limits: &api.ContainerLimits{MemoryBytes: -1, NanoCpus: 15e8, Pids: -1, Conf: map[string]string{"memory.high": "64M"}, CpuRtRuntime: 5000},
		Restart: &api.LocalRestartPolicy{Name: "on-failure", MaxRetries: 3},
	}
	if !proto.Equal(f.containers.updated, want) {
		t.Errorf("asked for %v", f.containers.updated)
	}
	for args, want := range map[string]string{
		"update web":                         "you must provide one or more flags",
		"update --restart maybe web":         "invalid restart policy 'maybe'",
		"update --cpus 1 --cpu-quota 5 web":  "--cpus cannot be given with",
		"container update --memory lots web": "not an amount of bytes",
		"update --kernel-memory 5m web":      "--memory counts it",
		"rename onlyone":                     "requires 2 arguments",
		"port":                               "requires at least 1 argument",
		"container port web eighty":          "invalid port 'eighty'",
		"port web 81":                        "no public port '81' published for web",
	} {
		populate(f)
		if r := f.run(t, "", strings.Fields(args)...); r.code == 0 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %q, want %q", args, r.err, want)
		}
	}
}

func TestPort(t *testing.T) {
	f := newFake(t)
	f.containers.containers = []*api.Container{{Id: strings.Repeat("a", 64), Name: "web", Ports: []*api.PortBinding{
		{ContainerPort: 80, HostPort: 8080}, {ContainerPort: 53, Protocol: "udp", HostIp: "10.0.0.1", HostPort: 53}, {ContainerPort: 443},
	}}}
	for args, want := range map[string]string{
		"port web":                  "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n53/udp -> 10.0.0.1:53\n",
		"port web 80":               "0.0.0.0:8080\n[::]:8080\n",
		"container port web 53/udp": "10.0.0.1:53\n",
	} {
		if r := f.run(t, "", strings.Fields(args)...); r.out != want {
			t.Errorf("%s: %q %q", args, r.out, r.err)
		}
	}
}

func TestCommitCommand(t *testing.T) {
	f := newFake(t)
	r := f.run(t, "", "commit", "-a", "me", "-m", "text", "-c", "CMD x", "--pause=false", "web", "new:1")
	if r.code != 0 || r.out != "sha256:"+strings.Repeat("d", 64)+"\n" {
		t.Errorf("%+v", r)
	}
	want := &api.CommitRequest{Ref: "web", Image: "new:1", Author: "me", Message: "text", Changes: []string{"CMD x"}}
	if !proto.Equal(f.containers.commit, want) {
		t.Errorf("asked for %v", f.containers.commit)
	}
	if f.run(t, "", "container", "commit", "web"); !f.containers.commit.Pause {
		t.Error("does not pause by default")
	}
}
