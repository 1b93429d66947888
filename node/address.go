//go:build linux

package node

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

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
