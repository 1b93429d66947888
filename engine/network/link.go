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
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/names"
)

// Names of interfaces of ours in the host's namespace; at most 15 characters.
const (
	defaultBridge = "shbr0"
	bridgePrefix  = "shbr-" // and 10 digits of the network's ID
	vethPrefix    = "shl"   // and 12 digits of a hash of container and network
	vlanPrefix    = "shvl"  // a VLAN's that has not got its name yet
	probeName     = "shvl-probe"
)

// isBridgeName and isVethName know the names that this package gives.
func isBridgeName(s string) bool {
	rest, ok := strings.CutPrefix(s, bridgePrefix)
	return s == "shbr0" || ok && names.Hex(rest, 10, 10)
}

func isVethName(s string) bool {
	rest, ok := strings.CutPrefix(s, vethPrefix)
	return ok && names.Hex(rest, 12, 12)
}

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

func deleteLink(nl *netlink.Handle, l netlink.Link) error {
	err := nl.LinkDel(l)
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("delete link %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// ownAlias marks interfaces of ours whose names are not.
const ownAlias = "shoal"

// ours tells whether this engine made an interface of the host.
func ours(l netlink.Link) bool {
	name := l.Attrs().Name
	switch l.Type() {
	case "bridge":
		return isBridgeName(name) || l.Attrs().Alias == ownAlias
	case "vlan":
		return strings.HasPrefix(name, vlanPrefix) || l.Attrs().Alias == ownAlias
	case "veth":
		return isVethName(name)
	}
	return false
}

// addOurs makes an interface that has its mark before it has its name: whoever dies on the way leaves one of ours.
func (m *Manager) addOurs(l netlink.Link, name, temporary string) (netlink.Link, error) {
	marked := isBridgeName(name)
	l.Attrs().Name = temporary
	if marked {
		l.Attrs().Name = name
	}
	if err := m.nl.LinkAdd(l); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	m.cfg.FaultPoint("network.link")
	made, err := m.nl.LinkByName(l.Attrs().Name)
	if err != nil || marked {
		return made, err
	}
	if err := m.nl.LinkSetAlias(made, ownAlias); err != nil {
		return nil, err
	}
	m.cfg.FaultPoint("network.marked")
	if err := m.nl.LinkSetName(made, name); err != nil {
		return nil, err
	}
	return m.nl.LinkByName(name)
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

// forwarding lets this namespace route. An interface that learns its IPv6 routes from advertisements must be told to go on
// with it, a router does not by default. Those that come later are not told so: a bridge would listen to what a container sends,
// who could take all of the host's traffic (CVE-2020-13401).
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
			if entry.Name() == "all" || entry.Name() == "default" {
				continue
			}
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
