package client

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// Host is a daemon's address.
type Host struct {
	Network string // unix or tcp
	Addr    string // path of the socket, or HOST:PORT
}

// String is the form that -H and SHOAL_HOST take.
func (h Host) String() string {
	if h.Network == "unix" {
		return "unix://" + h.Addr
	}
	return h.Addr
}

// ParseHost reads unix:///PATH, tcp://HOST:PORT or HOST:PORT. Empty is DefaultHost.
func ParseHost(s string) (Host, error) {
	if s == "" {
		s = DefaultHost
	}
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return Host{}, fmt.Errorf("invalid host %q: the path of a socket must be absolute, for example %s", s, DefaultHost)
		}
		return Host{Network: "unix", Addr: path}, nil
	}
	addr := strings.TrimPrefix(s, "tcp://")
	if strings.Contains(addr, "://") {
		return Host{}, fmt.Errorf("invalid host %q: use unix:///PATH or HOST:PORT", s)
	}
	name, port, err := net.SplitHostPort(addr)
	if err != nil || name == "" || port == "" {
		return Host{}, fmt.Errorf("invalid host %q: use unix:///PATH or HOST:PORT", s)
	}
	return Host{Network: "tcp", Addr: addr}, nil
}
