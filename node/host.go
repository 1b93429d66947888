//go:build linux

package node

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// describe says what this host is and has. Routes and resolvers go along so that address pools can avoid
// them, addresses so that other nodes know it when it calls.
func describe(hostname, version string) *api.NodeDescription {
	return &api.NodeDescription{
		Hostname:      hostname,
		Platform:      &api.Platform{Architecture: runtime.GOARCH, Os: runtime.GOOS},
		Resources:     &api.Resources{NanoCpus: int64(runtime.NumCPU()) * 1e9, MemoryBytes: memoryTotal()},
		EngineVersion: version,
		Kernel:        kernelRelease(),
		LocalSubnets:  localSubnets(),
		Addresses:     ownAddresses(),
	}
}

// maxAddresses is how many of this host's addresses others are told.
const maxAddresses = 64

// ownAddresses are what others may see as the source of this host's packets.
func ownAddresses() []string {
	links, _ := net.Interfaces()
	var found []string
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil || isOurs(l.Name) || l.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() && len(found) < maxAddresses {
				found = append(found, p.Addr().Unmap().String())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// memoryTotal is the host's memory in bytes, 0 if the kernel does not say.
func memoryTotal() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if fields := strings.Fields(sc.Text()); len(fields) >= 2 && fields[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func resolvers(path string) []netip.Addr {
	b, _ := os.ReadFile(path)
	var all []netip.Addr
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			if a, err := netip.ParseAddr(f[1]); err == nil {
				all = append(all, a.WithZone(""))
			}
		}
	}
	return all
}
