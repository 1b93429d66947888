package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// networkOpt is --network: NAME, or name=NAME,alias=A,ip=... where fields allows more than the name.
type networkOpt struct {
	values []*api.LocalNetworkAttachment
	fields []string
}

func (n *networkOpt) String() string { return "" }

func (n *networkOpt) Type() string { return "network" }

func (n *networkOpt) Set(s string) error {
	a := &api.LocalNetworkAttachment{}
	if !strings.Contains(s, "=") {
		a.Network = s
	} else if err := parseNetwork(a, s, n.fields); err != nil {
		return err
	}
	if a.Network == "" {
		return fmt.Errorf("a network's name is missing")
	}
	n.values = append(n.values, a)
	return nil
}

func parseNetwork(a *api.LocalNetworkAttachment, s string, allowed []string) error {
	fields, err := csvFields(s)
	if err != nil {
		return err
	}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		if !slices.Contains(allowed, key) {
			return fmt.Errorf("unknown field '%s': use %s", key, strings.Join(allowed, ", "))
		}
		switch key {
		case "name":
			a.Network = value
		case "alias":
			a.Aliases = append(a.Aliases, value)
		case "ip", "ip6":
			if err := networkIP(a, key, value); err != nil {
				return err
			}
		case "mac-address":
			a.Mac = value
		case "link-local-ip":
			a.LinkLocalIps = append(a.LinkLocalIps, value)
		}
	}
	return nil
}

func networkIP(a *api.LocalNetworkAttachment, key, value string) error {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Is4() != (key == "ip") {
		return fmt.Errorf("%s=%s is not an address of its family", key, value)
	}
	if key == "ip" {
		a.Ip = value
	} else {
		a.Ip6 = value
	}
	return nil
}

// setNetworkIPs is networkIP for the addresses of --ip and --ip6, which may be left out.
func setNetworkIPs(a *api.LocalNetworkAttachment, ip, ip6 string) error {
	for key, value := range map[string]string{"ip": ip, "ip6": ip6} {
		if value == "" {
			continue
		}
		if err := networkIP(a, key, value); err != nil {
			return err
		}
	}
	return nil
}
