//go:build linux

package engine

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestPublishedPort(t *testing.T) {
	l := openLab(t)
	r := request("", "while true; do echo hello from inside | nc -l -p 80; done")
	r.NetworkMode = NetworkBridge
	r.Ports = []*api.PortBinding{{Protocol: "tcp", ContainerPort: 80, HostIp: "127.0.0.1", HostPort: 8123}, {Protocol: "tcp", ContainerPort: 80}}
	id := l.run(r)
	row := l.row(id)
	if len(row.Ports) != 2 || row.Ports[1].HostPort == 0 {
		t.Fatalf("ports %v, want a free one chosen", row.Ports)
	}
	ask := func(port uint32) string {
		var got string
		enginetest.Until(t, fmt.Sprintf("port %d answers", port), func() bool {
			c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
			if err != nil {
				return false
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Second))
			b, _ := io.ReadAll(c)
			got = string(b)
			return got != ""
		})
		return got
	}
	for _, p := range row.Ports {
		if got := ask(p.HostPort); got != "hello from inside\n" {
			t.Errorf("port %d: %q", p.HostPort, got)
		}
	}
	l.reopen()
	if got := ask(8123); got != "hello from inside\n" {
		t.Errorf("after a restart of the daemon: %q", got)
	}
	taken := request("", "true")
	taken.NetworkMode, taken.Ports = NetworkBridge, []*api.PortBinding{{Protocol: "tcp", ContainerPort: 80, HostIp: "127.0.0.1", HostPort: 8123}}
	if err := l.Start(l.ctx(), l.create(taken)); err == nil || !strings.Contains(err.Error(), "8123") {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestContainersReachEachOther(t *testing.T) {
	l := openLab(t)
	net, err := l.CreateNetwork(l.ctx(), &api.LocalNetwork{Name: "mine", Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	on := func(name string) *api.CreateContainerRequest {
		r := request(name, "while true; do echo I am $(hostname) | nc -l -p 80; done")
		r.NetworkMode, r.Spec.Hostname = "", name
		r.Networks = []*api.LocalNetworkAttachment{{Network: "mine"}}
		return r
	}
	server := l.row(l.run(on("server")))
	client := l.run(on("client"))
	for _, addr := range server.Endpoints[0].Addresses {
		addr, _, _ = strings.Cut(addr, "/")
		got := l.exec(client, "until nc -w 20 "+addr+" 80 2>/dev/null; do sleep 0.1; done")
		if got != "I am server\n" {
			t.Errorf("%s: %q", addr, got)
		}
	}
	if _, err := l.RemoveNetwork(l.ctx(), net.Id); err == nil || !strings.Contains(err.Error(), "server") {
		t.Errorf("removing a network in use: %v, want an error that names the containers", err)
	}
	alone := l.run(request("alone", "sleep 1000"))
	if got := l.exec(alone, "ip -o link | wc -l"); got != "1\n" {
		t.Errorf("a container without a network has %s links", got)
	}
	r := request("joined", "sleep 1000")
	r.NetworkMode = "container:server"
	joined := l.run(r)
	if a, b := l.exec(joined, "ip -o addr show eth0"), l.exec("server", "ip -o addr show eth0"); a != b {
		t.Errorf("container:server sees %q, the server %q", a, b)
	}
	for _, c := range []string{"joined", "client", "server"} {
		if err := l.Remove(l.ctx(), c, true, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.RemoveNetwork(l.ctx(), "mine"); err != nil {
		t.Error(err)
	}
}
