//go:build linux

package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// hold is a socket that keeps a published port from other programs. Packets to the port never reach it, nftables sends
// them to the container, except on IPv6's loopback, which cannot be redirected: there it is a proxy (tcp only).
type hold struct {
	port  *api.PortBinding
	close func()
}

func closeAll(holds []*hold) {
	for _, h := range holds {
		h.close()
	}
}

// Reserve takes the host's ports for a container, choosing those that are left open (0). A port that somebody else has is
// refused. The result goes into the container's row; Detach gives the ports back.
func (m *Manager) Reserve(_ context.Context, container string, endpoints []*api.NetworkEndpoint, want []*api.PortBinding) ([]*api.PortBinding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	closeAll(m.holds[container])
	delete(m.holds, container)
	var holds []*hold
	var out []*api.PortBinding
	for _, w := range want {
		w = proto.CloneOf(w)
		w.Protocol = cmp.Or(w.Protocol, "tcp")
		p := proto.CloneOf(w)
		if by, _ := ways(slices.Collect(maps.Values(m.networks)), endpoints); len(by) > 0 && p.HostIp == "" {
			p.HostIp = optionsOf(by[0]).hostIP
		}
		h, err := m.holdFirst(container, p)
		if err != nil {
			closeAll(holds)
			return nil, m.portError(w, err)
		}
		holds, out = append(holds, h), append(out, p)
	}
	if len(holds) > 0 {
		m.holds[container] = holds
	}
	return out, nil
}

// holdFirst takes the first free port of a range.
func (m *Manager) holdFirst(container string, p *api.PortBinding) (h *hold, err error) {
	last := p.HostPortEnd
	p.HostPortEnd = 0
	for {
		h, err = m.hold(container, p)
		if !errors.Is(err, syscall.EADDRINUSE) || p.HostPort >= last {
			return h, err
		}
		p.HostPort++
	}
}

// portError says who has a port.
func (m *Manager) portError(p *api.PortBinding, err error) error {
	ports := strconv.Itoa(int(p.HostPort))
	if p.HostPortEnd != 0 {
		return fmt.Errorf("publish a port from %s to %d/%s: each of them is %w: choose other ports", ports, p.HostPortEnd, p.Protocol, ErrInUse)
	}
	where := net.JoinHostPort(p.HostIp, ports)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("publish port %s/%s: %w", where, p.Protocol, err)
	}
	if name := m.holderOf(p); name != "" {
		return fmt.Errorf("publish port %s/%s: it is %w by container %s: choose another port or stop that container", where, p.Protocol, ErrInUse, name)
	}
	return fmt.Errorf("publish port %s/%s: it is %w by another program on this host: choose another port or stop that program", where, p.Protocol, ErrInUse)
}

// holderOf names the container that has a port; "" if none has.
func (m *Manager) holderOf(p *api.PortBinding) string {
	for container, holds := range m.holds {
		if slices.ContainsFunc(holds, func(h *hold) bool { return h.port.HostPort == p.HostPort && h.port.Protocol == p.Protocol }) {
			return cmp.Or(m.attached[container].Name, container)
		}
	}
	return ""
}

// ways are the networks by which published ports reach a container, bridges with a way out, and its endpoints there.
func ways(networks []*api.LocalNetwork, endpoints []*api.NetworkEndpoint) (out []*api.LocalNetwork, eps []*api.NetworkEndpoint) {
	for _, ep := range endpoints {
		i := slices.IndexFunc(networks, func(n *api.LocalNetwork) bool { return n.Id == ep.NetworkId })
		if i >= 0 && networks[i].Driver == Bridge && !networks[i].Internal {
			out, eps = append(out, networks[i]), append(eps, ep)
		}
	}
	return out, eps
}

// target are the addresses that published ports lead to, of each family the first.
func target(networks []*api.LocalNetwork, endpoints []*api.NetworkEndpoint) []netip.Addr {
	var out []netip.Addr
	has := map[bool]bool{} // by Is4
	_, eps := ways(networks, endpoints)
	for _, ep := range eps {
		for _, text := range ep.Addresses {
			if p, err := netip.ParsePrefix(text); err == nil && !has[p.Addr().Is4()] && !p.Addr().IsLinkLocalUnicast() {
				has[p.Addr().Is4()] = true
				out = append(out, p.Addr())
			}
		}
	}
	return out
}

// targets are where a proxy sends a connection now: networks come and go.
func (m *Manager) targets(container string, port uint32) []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []netip.AddrPort
	for _, a := range target(slices.Collect(maps.Values(m.networks)), m.attached[container].Endpoints) {
		out = append(out, netip.AddrPortFrom(a, uint16(port)))
	}
	return out
}

// hold binds a port and fills in its number.
func (m *Manager) hold(container string, p *api.PortBinding) (h *hold, err error) {
	err = m.inNS(func() error {
		address := net.JoinHostPort(p.HostIp, strconv.Itoa(int(p.HostPort)))
		switch p.Protocol {
		case "tcp":
			l, err := net.Listen(networkFor("tcp", p.HostIp), address)
			if err != nil {
				return err
			}
			p.HostPort = uint32(l.Addr().(*net.TCPAddr).Port)
			px := newProxy(l, func() []netip.AddrPort { return m.targets(container, p.ContainerPort) }, m.dial)
			h = &hold{port: p, close: px.Close}
		case "udp":
			c, err := net.ListenPacket(networkFor("udp", p.HostIp), address)
			if err != nil {
				return err
			}
			p.HostPort = uint32(c.LocalAddr().(*net.UDPAddr).Port)
			h = &hold{port: p, close: func() { c.Close() }}
		default: // sctp: the kernel may lack it, so nothing is held
			if p.HostPort == 0 {
				return fmt.Errorf("%w: a host port must be given for sctp", ErrInvalid)
			}
			if m.isHeld(p) {
				return syscall.EADDRINUSE
			}
			h = &hold{port: p, close: func() {}}
		}
		return nil
	})
	return h, err
}

// isHeld says that a container of ours has a port, which no socket tells.
func (m *Manager) isHeld(p *api.PortBinding) bool {
	for _, holds := range m.holds {
		for _, h := range holds {
			if h.port.HostPort == p.HostPort && h.port.Protocol == p.Protocol && sameHost(h.port.HostIp, p.HostIp) {
				return true
			}
		}
	}
	return false
}

// dialTimeout bounds how long a proxied connection waits for the container.
const dialTimeout = 5 * time.Second

func (m *Manager) dial(to netip.AddrPort) (c net.Conn, err error) {
	err = m.inNS(func() (err error) {
		c, err = net.DialTimeout("tcp", to.String(), dialTimeout)
		return err
	})
	return c, err
}

// networkFor takes both families unless the address names one.
func networkFor(proto, hostIP string) string {
	a, err := netip.ParseAddr(hostIP)
	switch {
	case err != nil:
		return proto
	case a.Is4():
		return proto + "4"
	default:
		return proto + "6"
	}
}
