//go:build linux

package network

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// ensureBridge makes a network's bridge with its gateway addresses.
func (m *Manager) ensureBridge(n *api.LocalNetwork) (netlink.Link, error) {
	l, err := m.link(n.Bridge)
	if err == nil && l == nil {
		l, err = m.addBridge(n)
	}
	if err != nil {
		return nil, fmt.Errorf("create bridge %s: %w", n.Bridge, err)
	}
	if l.Type() != "bridge" || !ours(l) {
		return nil, fmt.Errorf("create bridge %s: there is a %s of this name that is not Shoal's: rename it, or make the network anew with another name", n.Bridge, l.Type())
	}
	for _, c := range n.Ipam {
		subnet := netip.MustParsePrefix(c.Subnet)
		gateway := netip.PrefixFrom(netip.MustParseAddr(c.Gateway), subnet.Bits())
		if subnet.Addr().Is6() && !m.ipv6 {
			continue // the network is older than the host's decision to have none
		}
		if subnet.Addr().Is6() { // it may be switched off for all interfaces of the host
			if err := m.sysctl("net/ipv6/conf/"+n.Bridge+"/disable_ipv6", "0"); err != nil {
				return nil, err
			}
		}
		if err := addAddr(m.nl, l, gateway); err != nil {
			return nil, fmt.Errorf("bridge %s: %w", n.Bridge, err)
		}
	}
	if err := m.trustNobody(n.Bridge); err != nil {
		return nil, err
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

// trustNobody: no container says where this host sends its packets.
func (m *Manager) trustNobody(bridge string) error {
	if err := m.sysctl("net/ipv4/conf/"+bridge+"/accept_redirects", "0"); err != nil {
		return err
	}
	if !m.ipv6 {
		return nil
	}
	return m.sysctl("net/ipv6/conf/"+bridge+"/accept_ra", "0")
}

func (m *Manager) addBridge(n *api.LocalNetwork) (netlink.Link, error) {
	if err := m.forwarding(); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.MTU, attrs.TxQLen, attrs.HardwareAddr = m.mtu(n), -1, bridgeMAC(n)
	return m.addOurs(&netlink.Bridge{LinkAttrs: attrs}, n.Bridge, bridgePrefix+n.Id[:10])
}

// bridgeMAC is fixed, else the bridge would take over the smallest of its ports'.
func bridgeMAC(n *api.LocalNetwork) net.HardwareAddr {
	raw, _ := hex.DecodeString(n.Id)
	return append(net.HardwareAddr{0x02, 0x53}, raw[:4]...)
}

// mtu of a network: its option, or that of the way out.
func (m *Manager) mtu(n *api.LocalNetwork) int {
	if mtu := optionsOf(n).mtu; mtu != 0 {
		return mtu
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

// addVeth makes the pair that leads from a container to its bridge. The host's end goes up last: one that is up is whole.
func (m *Manager) addVeth(p *plug, peer string, inside netns.NsHandle) error {
	hw, err := net.ParseMAC(p.ep.Mac)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex, attrs.TxQLen = p.veth, p.host.Attrs().MTU, p.host.Attrs().Index, -1
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerHardwareAddr: hw, PeerNamespace: netlink.NsFd(inside), PeerMTU: uint32(attrs.MTU)}
	if err := m.nl.LinkAdd(veth); err != nil {
		return err
	}
	m.cfg.FaultPoint("network.veth")
	l, err := m.nl.LinkByName(p.veth)
	if err != nil {
		return err
	}
	if m.bridgeFilter {
		err = m.nl.LinkSetHairpin(l, true)
	}
	if optionsOf(p.network).apart && !m.bridgeFilter {
		// Isolated ports do not reach each other, only the bridge itself. Where nftables sees what is bridged, its rules
		// do the same, and isolation would be in the way of published ports, which are then bridged, too.
		err = errors.Join(err, m.nl.LinkSetIsolated(l, true))
	}
	return errors.Join(err, m.nl.LinkSetUp(l))
}
