package main

import (
	"path"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// FuzzFlags gives any text to the flags with a language of their own: what one accepts is whole, and no text ends the program.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{
		"vol:/data:ro,nocopy", "type=bind,src=/a,dst=/b,readonly", "type=volume,\"volume-opt=o=a,b\",target=/x", "/run:size=1m,mode=1777", "127.0.0.1:80-82:90-92/udp",
		"[::1]::80", "published=80,target=90,mode=host", "/dev/null:/dev/x:rwm", "vendor.org/class=all", "a:10.0.0.1", "on-failure:3", "ctrl-p,ctrl-q,a", "/dev/sda:1mb",
		"1h30m", "node.labels.x==y", "A=b=c", "web=3", "linux/arm64/v8", "a 'b c' \"d\\\"\"", "name=n,alias=a,ip=10.0.0.1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := parseVolume(s); err == nil {
			wholeMount(t, s, m)
		}
		if m, err := parseMount(s); err == nil {
			wholeMount(t, s, m)
		}
		if m, err := parseTmpfs(s); err == nil {
			wholeMount(t, s, m)
		}
		if ports, err := parsePort(s); err == nil {
			for _, p := range ports {
				if p.ContainerPort == 0 || p.ContainerPort > 65535 || p.HostPort > 65535 {
					t.Errorf("-p %q is %v", s, p)
				}
			}
		}
		if ports, err := parseServicePort(s); err == nil && len(ports) == 0 {
			t.Errorf("--publish %q is nothing", s)
		}
		if d, err := parseDevice(s); err == nil && d.HostPath == "" {
			t.Errorf("--device %q is %v", s, d)
		}
		parseExpose(s)
		parseRestart(s)
		parseDetachKeys(s)
		parseRate(s, true)
		parsePlatform(s)
		parseScale(s)
		parseTemplate(s)
		splitCommand(s)
		parseNetwork(&api.LocalNetworkAttachment{}, s, []string{"ip", "alias"})
		for _, check := range []func(string) (string, error){checkHost, checkIP, checkLink, checkCapability, checkConstraint, checkPreference, checkEnv, checkLabel, checkAttach, checkChange} {
			check(s)
		}
	})
}

func wholeMount(t *testing.T, s string, m *api.Mount) {
	if !path.IsAbs(m.Target) {
		t.Errorf("%q is mounted on %q", s, m.Target)
	}
}
