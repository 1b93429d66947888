//go:build linux

package network

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// checkParent refuses a macvlan or ipvlan network that nobody could be attached to.
func (m *Manager) checkParent(n *api.LocalNetwork, o options) error {
	switch {
	case o.parent == "":
		return fmt.Errorf("%w: driver %s needs the host's interface to share: give it with -o parent=INTERFACE", ErrInvalid, n.Driver)
	case n.Internal:
		return fmt.Errorf("%w: driver %s cannot be internal: its containers are on the parent's own network; a bridge can", ErrInvalid, n.Driver)
	}
	if err := m.kernelHas(n.Driver, "lo", 0); err != nil {
		return err
	}
	if l, err := m.link(o.parent); err != nil || l != nil {
		if err == nil && l.Attrs().Flags&net.FlagLoopback != 0 {
			err = fmt.Errorf("%w: parent %s: a loopback interface cannot be shared, name one that leads out of the host", ErrInvalid, o.parent)
		}
		return err
	}
	base, id, isVLAN := splitVLAN(o.parent)
	if l, err := m.link(base); err != nil || !isVLAN || l == nil {
		return errors.Join(err, fmt.Errorf("%w: parent %s: this host has no such interface", ErrInvalid, o.parent))
	}
	return m.kernelHas(vlan, base, id)
}

const vlan = "vlan"

// kernelHas tries to make a link. On the loopback a kernel refuses macvlan and ipvlan as invalid if it knows them; VLANs it
// refuses there in any case.
func (m *Manager) kernelHas(kind, on string, id int) error {
	below, err := m.nl.LinkByName(on)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", on, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.TxQLen = probeName, below.Attrs().Index, -1
	probe := map[string]netlink.Link{
		Macvlan: &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE},
		IPvlan:  &netlink.IPVlan{LinkAttrs: attrs},
		vlan:    &netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q},
	}[kind]
	err = m.nl.LinkAdd(probe)
	m.cfg.FaultPoint("network.probed")
	if err == nil {
		return m.nl.LinkDel(probe)
	}
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	module, instead := kind, "or use driver bridge"
	if kind == vlan {
		module, instead = "8021q", "or make the interface yourself"
	}
	return fmt.Errorf("%w: this host's kernel has no %s: load its module (modprobe %s), %s", ErrInvalid, kind, module, instead)
}

// splitVLAN reads eth0.10 as the VLAN 10 of eth0.
func splitVLAN(name string) (base string, id int, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 {
		return "", 0, false
	}
	id, err := strconv.Atoi(name[i+1:])
	return name[:i], id, err == nil && id > 0 && id < 4095
}

// ensureParent finds the host's interface; a VLAN's that is not there is made.
func (m *Manager) ensureParent(n *api.LocalNetwork) (netlink.Link, error) {
	name := optionsOf(n).parent
	l, err := m.link(name)
	if err == nil && l == nil {
		l, err = m.addVLAN(name)
	}
	if err != nil {
		return nil, fmt.Errorf("parent %s of network %s: %w", name, n.Name, err)
	}
	if ours(l) && l.Attrs().Flags&net.FlagUp == 0 {
		return l, m.nl.LinkSetUp(l)
	}
	return l, nil
}

func (m *Manager) addVLAN(name string) (netlink.Link, error) {
	base, id, ok := splitVLAN(name)
	if !ok {
		return nil, errors.New("this host has no such interface any more")
	}
	below, err := m.nl.LinkByName(base)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", base, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.ParentIndex, attrs.TxQLen = below.Attrs().Index, -1
	return m.addOurs(&netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}, name, vlanPrefix+strconv.Itoa(below.Attrs().Index)+"."+strconv.Itoa(id))
}

// addChild makes the container's own interface on the parent, directly where it belongs.
func (m *Manager) addChild(p *plug, name string, inside netns.NsHandle) error {
	o := optionsOf(p.network)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace, attrs.TxQLen, attrs.MTU = name, p.host.Attrs().Index, netlink.NsFd(inside), -1, o.mtu
	if p.ep.Mac != "" {
		hw, err := net.ParseMAC(p.ep.Mac)
		if err != nil {
			return err
		}
		attrs.HardwareAddr = hw
	}
	if p.network.Driver == IPvlan {
		return m.nl.LinkAdd(&netlink.IPVlan{LinkAttrs: attrs, Mode: o.ipvlan, Flag: o.ipvlanFlag})
	}
	return m.nl.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: o.macvlan})
}

// hasParentsMAC says that a network's containers have no hardware address of their own.
func hasParentsMAC(n *api.LocalNetwork) bool {
	return n.Driver == IPvlan || n.Driver == Macvlan && optionsOf(n).macvlan == netlink.MACVLAN_MODE_PASSTHRU
}

// takesOne says that a network has room for one container only.
func takesOne(n *api.LocalNetwork) bool {
	return n.Driver == Macvlan && optionsOf(n).macvlan == netlink.MACVLAN_MODE_PASSTHRU
}

// routesOnLink says that a network has no gateway: every address is reached through the interface itself.
func routesOnLink(n *api.LocalNetwork) bool {
	return n.Driver == IPvlan && optionsOf(n).ipvlan != netlink.IPVLAN_MODE_L2
}
