package main

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func networkSettingsObject(k *api.Container) map[string]any {
	networks := map[string]any{}
	first := map[string]any{"IPAddress": "", "Gateway": "", "MacAddress": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPv6Gateway": "", "IPPrefixLen": 0}
	for i, e := range k.Endpoints {
		o := endpointOf(k, e)
		networks[e.Network] = o
		if i == 0 {
			for key := range first {
				first[key] = o[key]
			}
		}
	}
	for _, name := range networkNamesOf(k) { // one that does not run has no endpoint, but networks
		if networks[name] == nil && !strings.HasPrefix(name, "container:") && name != "external" {
			networks[name] = endpointOf(k, &api.NetworkEndpoint{Network: name})
		}
	}
	ports := map[string]any{}
	if isUp(k) {
		ports = portObjects(k.Ports, exposedOf(k))
	}
	first["SandboxKey"], first["Ports"], first["Networks"] = k.Netns, ports, networks
	return first
}

// endpointOf is a container's place on a network, with what was asked for there.
func endpointOf(k *api.Container, e *api.NetworkEndpoint) map[string]any {
	o := endpointObject(e)
	o["IPAMConfig"], o["DNSNames"], o["Links"] = fixedAddresses(k, e.Network), namesOn(k, e), linksOn(k, e.Network)
	return o
}

// linksOn are the links on a network where containers have names.
func linksOn(k *api.Container, network string) []string {
	i := slices.IndexFunc(k.Networks, func(w *api.LocalNetworkAttachment) bool { return w.Network == network })
	if i < 0 || network == "bridge" {
		return nil
	}
	return k.Networks[i].Links
}

func endpointObject(e *api.NetworkEndpoint) map[string]any {
	o := map[string]any{
		"NetworkID": e.NetworkId, "MacAddress": e.Mac, "Aliases": e.Aliases, "IPAddress": "", "IPPrefixLen": 0,
		"Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPv6Gateway": "",
	}
	for _, a := range e.Addresses {
		addr, bits := splitAddress(a)
		if addr.Is4() {
			o["IPAddress"], o["IPPrefixLen"] = addr.String(), bits
		} else if addr.IsValid() {
			o["GlobalIPv6Address"], o["GlobalIPv6PrefixLen"] = addr.String(), bits
		}
	}
	for _, g := range e.Gateways {
		if addr, _ := splitAddress(g); addr.Is4() {
			o["Gateway"] = addr.String()
		} else if addr.IsValid() {
			o["IPv6Gateway"] = addr.String()
		}
	}
	return o
}

// splitAddress reads an address with or without a prefix length.
func splitAddress(s string) (netip.Addr, int) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Addr(), p.Bits()
	}
	a, _ := netip.ParseAddr(s)
	return a, a.BitLen()
}
