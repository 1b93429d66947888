//go:build linux

package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// options are what a network's driver was told, in Docker's words.
type options struct {
	mtu        int    // 0: that of the way out
	bridge     string // name of the interface
	apart      bool   // containers do not reach each other
	masquerade bool
	hostIP     string // for published ports that name none
	parent     string // of macvlan and ipvlan
	macvlan    netlink.MacvlanMode
	ipvlan     netlink.IPVlanMode
	ipvlanFlag netlink.IPVlanFlag
}

// setter reads one option's value; its error says what the value should be.
type setter func(o *options, value string) error

var commonOptions = map[string]setter{
	"mtu":                           setMTU,
	"com.docker.network.driver.mtu": setMTU,
}

var driverOptions = map[string]map[string]setter{
	Bridge: {
		"com.docker.network.bridge.name":                 setBridge,
		"com.docker.network.bridge.enable_icc":           func(o *options, v string) error { return setBool(&o.apart, v, true) },
		"com.docker.network.bridge.enable_ip_masquerade": func(o *options, v string) error { return setBool(&o.masquerade, v, false) },
		"com.docker.network.bridge.host_binding_ipv4":    setHostIP,
	},
	Macvlan: {"parent": setParent, "macvlan_mode": setMacvlanMode},
	IPvlan:  {"parent": setParent, "ipvlan_mode": setIPvlanMode, "ipvlan_flag": setIPvlanFlag},
}

// parseOptions refuses what it does not know.
func parseOptions(n *api.LocalNetwork) (options, error) {
	o := options{masquerade: true, macvlan: netlink.MACVLAN_MODE_BRIDGE}
	for _, key := range slices.Sorted(maps.Keys(n.Options)) {
		set := driverOptions[n.Driver][key]
		if set == nil {
			set = commonOptions[key]
		}
		if set == nil {
			return o, fmt.Errorf("%w: unknown option %q of driver %s: use %s", ErrInvalid, key, n.Driver, optionNames(n.Driver))
		}
		if err := set(&o, n.Options[key]); err != nil {
			return o, fmt.Errorf("%w: option %s=%s: %w", ErrInvalid, key, n.Options[key], err)
		}
	}
	return o, nil
}

// optionsOf a network that was checked when it was made.
func optionsOf(n *api.LocalNetwork) options {
	o, _ := parseOptions(n)
	return o
}

func optionNames(driver string) string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(commonOptions)), maps.Keys(driverOptions[driver]))
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func setMTU(o *options, v string) error {
	mtu, err := strconv.Atoi(v)
	if err != nil || mtu < 576 || mtu > 65535 {
		return fmt.Errorf("an MTU is between 576 and 65535")
	}
	o.mtu = mtu
	return nil
}

// setBool stores a truth, or its opposite.
func setBool(to *bool, v string, not bool) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("use true or false")
	}
	*to = b != not
	return nil
}

// maxLink is what the kernel has for an interface's name, its end included (IFNAMSIZ).
const maxLink = 16

func isLinkName(s string) bool { return len(s) < maxLink && names.Object(s) }

func setBridge(o *options, v string) error {
	if !isLinkName(v) || strings.HasPrefix(v, bridgePrefix) || strings.HasPrefix(v, vethPrefix) {
		return fmt.Errorf("the name of an interface has at most 15 letters, digits, '_', '.' and '-', and does not begin like Shoal's own (%s, %s)", bridgePrefix, vethPrefix)
	}
	o.bridge = v
	return nil
}

func setHostIP(o *options, v string) error {
	if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
		return fmt.Errorf("use an IPv4 address")
	}
	o.hostIP = v
	return nil
}

func setParent(o *options, v string) error {
	if !isLinkName(v) {
		return fmt.Errorf("use the name of an interface of this host, or INTERFACE.VLAN")
	}
	o.parent = v
	return nil
}

func setMacvlanMode(o *options, v string) error {
	return choose(&o.macvlan, v, map[string]netlink.MacvlanMode{
		"bridge": netlink.MACVLAN_MODE_BRIDGE, "private": netlink.MACVLAN_MODE_PRIVATE,
		"vepa": netlink.MACVLAN_MODE_VEPA, "passthru": netlink.MACVLAN_MODE_PASSTHRU,
	})
}

func setIPvlanMode(o *options, v string) error {
	return choose(&o.ipvlan, v, map[string]netlink.IPVlanMode{
		"l2": netlink.IPVLAN_MODE_L2, "l3": netlink.IPVLAN_MODE_L3, "l3s": netlink.IPVLAN_MODE_L3S,
	})
}

func setIPvlanFlag(o *options, v string) error {
	return choose(&o.ipvlanFlag, v, map[string]netlink.IPVlanFlag{
		"bridge": netlink.IPVLAN_FLAG_BRIDGE, "private": netlink.IPVLAN_FLAG_PRIVATE, "vepa": netlink.IPVLAN_FLAG_VEPA,
	})
}

func choose[T any](to *T, v string, among map[string]T) error {
	chosen, ok := among[v]
	if !ok {
		return fmt.Errorf("use %s", strings.Join(slices.Sorted(maps.Keys(among)), ", "))
	}
	*to = chosen
	return nil
}
