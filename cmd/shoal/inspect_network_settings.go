package main

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func networkSettingsObject(k *api.Container) networkSettingsView {
	o := networkSettingsView{SandboxKey: k.Netns, Ports: map[string][]portView{}, Networks: map[string]*endpointView{}}
	for i, e := range k.Endpoints {
		p := endpointOf(k, e)
		o.Networks[e.Network] = p
		if i == 0 {
			o.addressView = p.addressView
		}
	}
	for _, name := range networkNamesOf(k) { // one that does not run has no endpoint, but networks
		if o.Networks[name] == nil && !strings.HasPrefix(name, "container:") && name != "external" {
			o.Networks[name] = endpointOf(k, &api.NetworkEndpoint{Network: name})
		}
	}
	if isUp(k) {
		o.Ports = portObjects(k.Ports, exposedOf(k))
	}
	return o
}

// endpointOf is a container's place on a network, with what was asked for there.
func endpointOf(k *api.Container, e *api.NetworkEndpoint) *endpointView {
	return &endpointView{
		IPAMConfig: fixedAddresses(k, e.Network), Links: linksOn(k, e.Network), Aliases: e.Aliases, NetworkID: e.NetworkId,
		addressView: addressesOf(e), DNSNames: namesOn(k, e),
	}
}

// linksOn are the links on a network where containers have names.
func linksOn(k *api.Container, network string) []string {
	i := slices.IndexFunc(k.Networks, func(w *api.LocalNetworkAttachment) bool { return w.Network == network })
	if i < 0 || network == "bridge" {
		return nil
	}
	return k.Networks[i].Links
}

func addressesOf(e *api.NetworkEndpoint) addressView {
	o := addressView{MacAddress: e.Mac}
	for _, a := range e.Addresses {
		addr, bits := splitAddress(a)
		if addr.Is4() {
			o.IPAddress, o.IPPrefixLen = addr.String(), bits
		} else if addr.IsValid() {
			o.GlobalIPv6Address, o.GlobalIPv6PrefixLen = addr.String(), bits
		}
	}
	for _, g := range e.Gateways {
		if addr, _ := splitAddress(g); addr.Is4() {
			o.Gateway = addr.String()
		} else if addr.IsValid() {
			o.IPv6Gateway = addr.String()
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
