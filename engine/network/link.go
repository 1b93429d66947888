//go:build linux

package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// Names of interfaces of ours in the host's namespace; at most 15 characters.
const (
	DefaultBridge = "shbr0"
	bridgePrefix  = "shbr-" // and 10 digits of the network's ID
	vethPrefix    = "shl"   // and 12 digits of a hash of container and network
)

var (
	bridgeForm = regexp.MustCompile(`^shbr(0|-[0-9a-f]{10})$`)
	vethForm   = regexp.MustCompile(`^shl[0-9a-f]{12}$`)
)

func vethName(container, networkID string) string {
	sum := sha256.Sum256([]byte(container + "/" + networkID))
	return vethPrefix + hex.EncodeToString(sum[:6])
}

func isNoLink(err error) bool { return errors.As(err, &netlink.LinkNotFoundError{}) }

// link finds an interface; nil if there is none.
func (m *Manager) link(name string) (netlink.Link, error) {
	l, err := m.nl.LinkByName(name)
	if isNoLink(err) {
		return nil, nil
	}
	return l, err
}

func (m *Manager) deleteLink(l netlink.Link) error {
	err := m.nl.LinkDel(l)
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("delete link %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// mtu of a network: its option, or that of the way out.
func (m *Manager) mtu(n *api.LocalNetwork) int {
	for _, key := range optionMTU {
		if v, err := strconv.Atoi(n.Options[key]); err == nil {
			return v
		}
	}
	routes, err := retryDump(func() ([]netlink.Route, error) { return m.nl.RouteList(nil, unix.AF_INET) })
	if err != nil {
		return 1500
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			if l, err := m.nl.LinkByIndex(r.LinkIndex); err == nil && l.Attrs().MTU > 0 {
				return min(l.Attrs().MTU, 65535)
			}
		}
	}
	return 1500
}

// ensureBridge makes a network's bridge with its gateway addresses.
func (m *Manager) ensureBridge(n *api.LocalNetwork) (netlink.Link, error) {
	l, err := m.link(n.Bridge)
	if err != nil {
		return nil, err
	}
	if l == nil {
		if err := m.forwarding(); err != nil {
			return nil, err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.TxQLen = n.Bridge, m.mtu(n), -1
		attrs.HardwareAddr = bridgeMAC(n)
		err := m.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("create bridge %s: %w", n.Bridge, err)
		}
		if l, err = m.nl.LinkByName(n.Bridge); err != nil {
			return nil, fmt.Errorf("create bridge %s: %w", n.Bridge, err)
		}
	}
	if l.Type() != "bridge" {
		return nil, fmt.Errorf("create bridge %s: there is a %s of this name", n.Bridge, l.Type())
	}
	for _, c := range n.Ipam {
		subnet := netip.MustParsePrefix(c.Subnet)
		gateway := netip.PrefixFrom(netip.MustParseAddr(c.Gateway), subnet.Bits())
		if err := addAddr(m.nl, l, gateway); err != nil {
			return nil, fmt.Errorf("bridge %s: %w", n.Bridge, err)
		}
	}
	// Programs on this host reach published ports on 127.0.0.1; see the rules for who else does not.
	if err := m.sysctl("net/ipv4/conf/"+n.Bridge+"/route_localnet", "1"); err != nil {
		return nil, err
	}
	if err := m.sysctl("net/ipv4/conf/"+n.Bridge+"/send_redirects", "0"); err != nil {
		return nil, err
	}
	if l.Attrs().Flags&net.FlagUp == 0 {
		if err := m.nl.LinkSetUp(l); err != nil {
			return nil, fmt.Errorf("set bridge %s up: %w", n.Bridge, err)
		}
	}
	return l, nil
}

// bridgeMAC is fixed, else the bridge would take over the smallest of its ports'.
func bridgeMAC(n *api.LocalNetwork) net.HardwareAddr {
	raw, _ := hex.DecodeString(n.Id)
	return append(net.HardwareAddr{0x02, 0x53}, raw[:4]...)
}

// addAddr adds an address; IPv6 without waiting for others to object, addresses are ours to give.
func addAddr(nl *netlink.Handle, l netlink.Link, p netip.Prefix) error {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	err := nl.AddrAdd(l, a)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s: %w", p, err)
	}
	return nil
}

// connect makes one interface of a container, ready for use. One that is complete already is left alone.
func (m *Manager) connect(a Attachment, index int, bridge netlink.Link, containerNS netns.NsHandle, inside *netlink.Handle) error {
	ep, name := a.Endpoints[index], "eth"+strconv.Itoa(index)
	host := vethName(a.Container, ep.NetworkId)
	old, err := m.link(host)
	if err != nil {
		return err
	}
	if old != nil {
		peer, err := inside.LinkByName(name)
		if err == nil && old.Attrs().MasterIndex == bridge.Attrs().Index && peer.Attrs().ParentIndex == old.Attrs().Index &&
			peer.Attrs().Flags&net.FlagUp != 0 && old.Attrs().Flags&net.FlagUp != 0 {
			return nil
		}
		if err := m.deleteLink(old); err != nil {
			return err
		}
	}
	if err := m.addVeth(host, name, ep.Mac, bridge, containerNS); err != nil {
		return fmt.Errorf("create veth %s: %w", host, err)
	}
	if err := m.configure(name, ep, inside, index == firstWithGateway(a.Endpoints)); err != nil {
		return fmt.Errorf("configure %s: %w", name, err)
	}
	return nil
}

func (m *Manager) addVeth(host, peer, mac string, bridge netlink.Link, containerNS netns.NsHandle) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = host, bridge.Attrs().MTU, net.FlagUp
	attrs.MasterIndex, attrs.TxQLen = bridge.Attrs().Index, -1
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerHardwareAddr: hw, PeerNamespace: netlink.NsFd(containerNS), PeerMTU: uint32(attrs.MTU)}
	if err := m.nl.LinkAdd(veth); err != nil {
		return err
	}
	if !m.bridgeFilter {
		return nil
	}
	l, err := m.nl.LinkByName(host)
	if err != nil {
		return err
	}
	return m.nl.LinkSetHairpin(l, true)
}

// configure sets addresses and routes inside the container.
func (m *Manager) configure(name string, ep *api.NetworkEndpoint, inside *netlink.Handle, defaultRoute bool) error {
	link, err := inside.LinkByName(name)
	if err != nil {
		return err
	}
	for _, text := range ep.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if err := addAddr(inside, link, p); err != nil {
			return err
		}
	}
	if err := inside.LinkSetUp(link); err != nil {
		return err
	}
	if !defaultRoute {
		return nil
	}
	for _, gw := range ep.Gateways {
		addr, err := netip.ParseAddr(gw)
		if err != nil {
			return err
		}
		err = inside.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: addr.AsSlice()})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add default route via %s: %w", gw, err)
		}
	}
	return nil
}

// firstWithGateway is the interface with the way out; -1 if all networks are internal.
func firstWithGateway(endpoints []*api.NetworkEndpoint) int {
	for i, ep := range endpoints {
		if len(ep.Gateways) > 0 {
			return i
		}
	}
	return -1
}

// forwarding lets this namespace route. An interface that learns its IPv6 routes from advertisements must be told to go on
// with it, a router does not by default.
func (m *Manager) forwarding() error {
	if err := m.sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	if err := m.sysctl("net/ipv4/conf/all/send_redirects", "0"); err != nil {
		return err
	}
	if !m.ipv6 {
		return nil
	}
	return m.inNS(func() error {
		const conf = "/proc/sys/net/ipv6/conf"
		entries, err := os.ReadDir(conf)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			ra := conf + "/" + entry.Name() + "/accept_ra"
			if value, err := os.ReadFile(ra); err == nil && strings.TrimSpace(string(value)) == "1" {
				os.WriteFile(ra, []byte("2"), 0)
			}
		}
		return writeSysctl("net/ipv6/conf/all/forwarding", "1")
	})
}

func (m *Manager) sysctl(key, value string) error {
	return m.inNS(func() error { return writeSysctl(key, value) })
}

// writeSysctl writes only what differs: /proc/sys may be read-only, which is fine if it says the right thing.
func writeSysctl(key, value string) error {
	path := "/proc/sys/" + key
	if have, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(have)) == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", strings.ReplaceAll(key, "/", "."), value, err)
	}
	return nil
}
