package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestParseExpose(t *testing.T) {
	for text, want := range map[string][]string{
		"80": {"80/tcp"}, "53/udp": {"53/udp"}, "80-82/TCP": {"80/tcp", "81/tcp", "82/tcp"}, "65535-65535": {"65535/tcp"},
	} {
		if got, err := parseExpose(text); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "70000", "abc", "80/foo", "90-80", "127.0.0.1:80", "80:80", "80/"} {
		if got, err := parseExpose(text); err == nil {
			t.Errorf("%q: accepted as %v", text, got)
		}
	}
}

// As Docker 20.10 to 28 show them.
func TestContainerPorts(t *testing.T) {
	port := func(host string, public, private uint32, protocol string) *api.PortBinding {
		return &api.PortBinding{HostIp: host, HostPort: public, ContainerPort: private, Protocol: protocol}
	}
	for want, k := range map[string]*api.Container{
		"80/tcp, 443/tcp, 53/udp, 8000-8002/tcp": {ExposedPorts: []string{"53/udp", "80/tcp", "443/tcp", "8000/tcp", "8001/tcp", "8002/tcp"}},
		"443/tcp, 53/udp, 9000-9001/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp": {
			Ports: []*api.PortBinding{port("", 8080, 80, "tcp")}, ExposedPorts: []string{"53/udp", "80/tcp", "443/tcp", "9000/tcp", "9001/tcp"},
		},
		"91/udp, 127.0.0.1:8091->91/tcp": {Ports: []*api.PortBinding{port("127.0.0.1", 8091, 91, "")}, ExposedPorts: []string{"91/tcp", "91/udp"}},
		"127.0.0.1:80-81->80-81/tcp":     {Ports: []*api.PortBinding{port("127.0.0.1", 80, 80, "tcp"), port("127.0.0.1", 81, 81, "tcp")}},
	} {
		k.State, k.Endpoints = api.ContainerState_CONTAINER_RUNNING, []*api.NetworkEndpoint{{}}
		if got := containerPorts(k); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		k.State = api.ContainerState_EXITED
		if got := containerPorts(k); got != "" {
			t.Errorf("one that has ended has %s", got)
		}
	}
}
