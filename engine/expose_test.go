//go:build linux

package engine

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/proto/api"
)

// Everything exposed is published, by the image or by the container, but what is published already.
func TestPublishAll(t *testing.T) {
	l := openLab(t)
	exposing := image.ImportOptions{Ref: "exposing:1", Changes: []string{"EXPOSE 80 53/udp"}}
	if _, err := l.Images().Import(l.ctx(), bytes.NewReader(enginetest.Tar(t)), exposing, func(*api.ImageProgress) {}); err != nil {
		t.Fatal(err)
	}
	r := request("web", "sleep 1000")
	r.NetworkMode, r.PublishAll = NetworkBridge, true
	r.Spec.Image, r.Spec.ExposedPorts = "exposing:1", []string{"9000/tcp", "80/tcp"}
	r.Ports = []*api.PortBinding{{Protocol: "tcp", ContainerPort: 80, HostPort: 8124}, {ContainerPort: 81}}
	id := l.run(r)
	row := l.row(id)
	if diff := cmp.Diff([]string{"53/udp", "80/tcp", "81/tcp", "9000/tcp"}, row.ExposedPorts); diff != "" {
		t.Errorf("exposed (-want +got):\n%s", diff)
	}
	var published []string
	for _, p := range row.Ports {
		published = append(published, portName(p))
		if p.HostPort == 0 {
			t.Errorf("%v has no port of the host", p)
		}
	}
	if diff := cmp.Diff([]string{"80/tcp", "81/tcp", "53/udp", "9000/tcp"}, published); diff != "" {
		t.Errorf("published (-want +got):\n%s", diff)
	}
	if row.Ports[0].HostPort != 8124 || len(row.PortBindings) != 2 || row.PortBindings[1].HostPort != 0 {
		t.Errorf("ports %v of %v", row.Ports, row.PortBindings)
	}
	quiet := request("quiet", "sleep 1000")
	quiet.NetworkMode, quiet.Spec.ExposedPorts = NetworkBridge, []string{"9000/tcp"}
	if row := l.row(l.run(quiet)); len(row.Ports) != 0 || len(row.ExposedPorts) != 1 {
		t.Errorf("only exposed: published %v, exposed %v", row.Ports, row.ExposedPorts)
	}
	if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "quiet", Image: "kept:1"}); err != nil {
		t.Fatal(err)
	}
	kept := request("kept", "true")
	kept.Spec.Image = "kept:1"
	if row := l.row(l.create(kept)); !cmp.Equal(row.ExposedPorts, []string{"9000/tcp"}) {
		t.Errorf("a container of the committed image exposes %v", row.ExposedPorts)
	}
}

// A domain is in the kernel, and in /etc/hosts behind the name; with another runtime too.
func TestDomainname(t *testing.T) {
	l := openLab(t)
	for _, runtime := range []string{"", "runc"} {
		if _, err := exec.LookPath(runtime); runtime != "" && err != nil {
			t.Skip("SKIPPED: with another runtime: `make deps` installs Debian's runc")
		}
		r := request("", "cat /proc/sys/kernel/domainname; hostname; hostname -f; tail -1 /etc/hosts")
		r.NetworkMode = NetworkBridge
		r.Spec.Hostname, r.Spec.Domainname, r.Spec.Runtime = "web", "example.com", runtime
		id := l.run(r)
		l.ended(id)
		lines := strings.Split(l.logs(id), "\n")
		if len(lines) < 4 || lines[0] != "example.com" || lines[1] != "web" || lines[2] != "web.example.com" || !strings.HasSuffix(lines[3], "\tweb.example.com web") {
			t.Errorf("runtime %q: %q", runtime, lines)
		}
	}
}

func TestAnnotationsAreInTheBundle(t *testing.T) {
	l := openLab(t)
	r := request("", "sleep 1000")
	r.Spec.Annotations = map[string]string{"com.example/owner": "a b"}
	id := l.run(r)
	config, err := l.cfg.Runtime.Spec(context.Background(), id)
	if err != nil || config.Annotations["com.example/owner"] != "a b" {
		t.Errorf("annotations %v, %v", config.Annotations, err)
	}
}

func TestNamesAndPortsRefused(t *testing.T) {
	l := openLab(t)
	l.run(request("other", "sleep 1000"))
	for want, change := range map[string]func(*api.CreateContainerRequest){
		`exposed port "80/icmp"`: func(r *api.CreateContainerRequest) { r.Spec.ExposedPorts = []string{"80/icmp"} },
		`exposed port "0"`:       func(r *api.CreateContainerRequest) { r.Spec.ExposedPorts = []string{"0"} },
		"cannot expose ports": func(r *api.CreateContainerRequest) {
			r.NetworkMode, r.Spec.ExposedPorts = "container:other", []string{"80/tcp"}
		},
		"a b":                      func(r *api.CreateContainerRequest) { r.Spec.Domainname = "a b" },
		"x\n127.0.0.1 y":           func(r *api.CreateContainerRequest) { r.Spec.Domainname = "x\n127.0.0.1 y" },
		"at most 64":               func(r *api.CreateContainerRequest) { r.Spec.Domainname = strings.Repeat("a", 65) },
		"needs a UTS namespace":    func(r *api.CreateContainerRequest) { r.Spec.Domainname, r.Spec.UtsMode = "x", "host" },
		"an annotation has no key": func(r *api.CreateContainerRequest) { r.Spec.Annotations = map[string]string{"": "x"} },
	} {
		r := request("", "true")
		change(r)
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `\n`, "\n"), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
