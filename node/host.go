//go:build linux

package node

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/names"
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

// localSubnets are the destinations of this host's routes, default routes and those over our own links left out, and
// its resolvers.
func localSubnets() []string {
	var found []string
	add := func(p netip.Prefix) {
		if !slices.Contains(found, p.String()) {
			found = append(found, p.String())
		}
	}
	routes, _ := netlink.RouteList(nil, netlink.FAMILY_ALL)
	for _, r := range routes {
		if r.Dst == nil || ourLink(r.LinkIndex) {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if p := netip.PrefixFrom(addr.Unmap(), bits); ok && bits > 0 && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			add(p.Masked())
		}
	}
	for _, a := range resolvers("/etc/resolv.conf") {
		if !a.IsLoopback() {
			add(netip.PrefixFrom(a, a.BitLen()))
		}
	}
	slices.Sort(found)
	return found
}

// ourLink tells whether a link is Shoal's. One that is gone has no say.
func ourLink(index int) bool {
	ifi, err := net.InterfaceByIndex(index)
	return err == nil && isOurs(ifi.Name)
}

// isOurs knows the names that packages overlay and engine/network give, from those of links of others that begin like them.
func isOurs(name string) bool {
	if name == "shoal0" || name == "shmesh" || name == "shbr0" {
		return true
	}
	for prefix, digits := range map[string]int{"shg": 10, "shbr-": 10, "shl": 12} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && names.Hex(rest, digits, digits) {
			return true
		}
	}
	return false
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

// address turns what a user wrote for an address (an IP, the name of an interface, or nothing) into an IP of this
// host. flag names the option in errors.
func address(flag, s string) (netip.Addr, error) {
	if s == "" {
		return defaultAddress(flag)
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.IsLoopback() || a.IsUnspecified() {
			return netip.Addr{}, fmt.Errorf("%s %s cannot be reached by other nodes: give the address of an interface", flag, s)
		}
		return a, hasAddress(flag, a)
	}
	ifi, err := net.InterfaceByName(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s %q is neither an IP address nor an interface of this host", flag, s)
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%s %s: %w", flag, s, err)
	}
	return firstUsable(addrs, fmt.Errorf("%s: interface %s has no usable address", flag, s))
}

func firstUsable(addrs []net.Addr, none error) (netip.Addr, error) {
	var v6 netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Addr().Is4() {
			return p.Addr(), nil
		}
		if !v6.IsValid() {
			v6 = p.Addr()
		}
	}
	if v6.IsValid() {
		return v6, nil
	}
	return netip.Addr{}, none
}

// hasAddress refuses an address that nobody can bind here; NATed setups give the inner one.
func hasAddress(flag string, want netip.Addr) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == want.WithZone("") {
			return nil
		}
	}
	return fmt.Errorf("%s %s is not an address of this host", flag, want)
}

// defaultAddress is the source address of the default route, else the first usable one.
func defaultAddress(flag string) (netip.Addr, error) {
	if a, ok := routedAddress(); ok {
		return a, nil
	}
	none := fmt.Errorf("this host has no address that others could reach: give one with %s", flag)
	links, err := net.Interfaces()
	if err != nil {
		return netip.Addr{}, err
	}
	var all []net.Addr
	for _, l := range links {
		if isOurs(l.Name) {
			continue
		}
		if addrs, err := l.Addrs(); err == nil { // else the link has just gone
			all = append(all, addrs...)
		}
	}
	return firstUsable(all, none)
}

// routedAddress is the source address of the default route.
func routedAddress() (netip.Addr, bool) {
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		c, err := net.Dial("udp", to) // a UDP socket is connected without sending anything
		if err != nil {
			continue
		}
		local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		c.Close()
		if !local.IsLoopback() {
			return local, true
		}
	}
	return netip.Addr{}, false
}

// splitListen reads a --listen-addr: ADDR, ADDR:PORT or :PORT. The default is the advertised address and port.
func splitListen(s string, advertise netip.Addr, port uint16) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPortFrom(advertise, port), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--listen-addr %q: write ADDRESS:PORT", s)
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 {
		return netip.AddrPort{}, fmt.Errorf("--listen-addr %q: %q is not a port", s, portText)
	}
	if host == "" {
		host = "::"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--listen-addr %q: %q is not an address", s, host)
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}
