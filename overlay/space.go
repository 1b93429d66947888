//go:build linux

package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
	"github.com/shoal-dev/shoal/overlay/nft"
)

// space is one namespace that we keep: the daemon's own or a sandbox. Its lock is held while the kernel is changed.
type space struct {
	name string // for messages: "host" or "network NAME"
	ns   *netns.NS
	h    *netlink.Handle // links, addresses, routes
	nf   *netlink.Handle // connection tracking
	host *space          // nil for the daemon's own namespace

	mu        sync.Mutex
	done      [32]byte // digest of the want that was last made true, zero if unknown
	alive     map[netip.Addr]bool
	allowed   map[flowKey]map[netip.Addr]bool // what the connections were last held against
	pending   bool                            // connections to removed backends may be left
	undressed []*Attachment                   // containers that got a new pair of links
}

func openSpace(name string, ns *netns.NS, host *space) (*space, error) {
	h, err := netlink.NewHandleAt(handleOf(ns), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink for %s: %w", name, err)
	}
	nf, err := netlink.NewHandleAt(handleOf(ns), unix.NETLINK_NETFILTER)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("open connection tracking for %s: %w", name, err)
	}
	return &space{name: name, ns: ns, h: h, nf: nf, host: host, pending: true}, nil
}

func (s *space) close() {
	s.h.Close()
	s.nf.Close()
	s.ns.Close()
}

// look returns the tools for netstate. Links of sandboxes are made from the host's namespace.
func (s *space) look(v *view) netstate.Space {
	n := netstate.Space{H: s.h, FD: s.ns.FD(), Offload: v.offload, Tune: func(link string) error {
		return s.ns.Do(func() error { return checksumOff(link) })
	}}
	if s.host != nil {
		n.Under = s.host.h
	}
	return n
}

func (s *space) has(link string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.h.LinkByName(link)
	return err == nil
}

func (s *space) nft() nft.Kernel { return nft.Kernel{NetNS: s.ns.FD()} }

// apply makes the namespace hold w, or with dry only lists the differences. Called with mu held.
func (s *space) apply(v *view, w *want, dry bool) (lines []string, err error) {
	defer func() {
		if dry || err != nil {
			s.done = [32]byte{}
		}
	}()
	var errs []error
	for _, step := range []func() ([]netstate.Op, error){
		func() ([]netstate.Op, error) { return s.settings(w.before) },
		func() ([]netstate.Op, error) { return s.look(v).DiffLinks(made(w.state.Links, true)) },
		func() ([]netstate.Op, error) { return s.wiring(v, w) },
		func() ([]netstate.Op, error) { return s.look(v).DiffLinks(made(w.state.Links, false)) },
		func() ([]netstate.Op, error) { return s.settings(w.after) },
		func() ([]netstate.Op, error) { return s.look(v).Diff(w.state, w.scope) },
		func() ([]netstate.Op, error) { return s.surplus(v, w) },
	} {
		ops, err := step()
		if err != nil {
			return lines, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, op := range ops {
			lines = append(lines, s.name+": "+op.What)
		}
		if !dry {
			errs = append(errs, netstate.Apply(ops))
		}
	}
	more, err := s.balance(w, dry)
	if err = errors.Join(append(errs, err)...); err != nil {
		return append(lines, more...), fmt.Errorf("%s: %w", s.name, err)
	}
	s.done = w.digest()
	return append(lines, more...), nil
}

// made picks the links that netstate makes, or the others.
func made(links []netstate.Link, here bool) []netstate.Link {
	var out []netstate.Link
	for _, l := range links {
		if (l.Kind != "") == here {
			out = append(out, l)
		}
	}
	return out
}

// settings compares sysctls.
func (s *space) settings(all []netns.Sysctl) ([]netstate.Op, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var differ []netns.Sysctl
	if err := s.ns.Do(func() error { differ = netns.Unequal(all); return nil }); err != nil {
		return nil, err
	}
	var ops []netstate.Op
	for _, d := range differ {
		ops = append(ops, netstate.Op{
			What: fmt.Sprintf("setting %s is not %s", d.Path, d.Value),
			Do: func() error {
				return s.ns.Do(func() error {
					if d.Path == "net/ipv6/conf/all/forwarding" {
						keepRouterAdvertisements()
					}
					return netns.Write([]netns.Sysctl{d})
				})
			},
		})
	}
	return ops, nil
}

// keepRouterAdvertisements: a host that forwards stops listening to its router and would lose its default route. Links that come
// later are not told to listen: some lead to containers.
func keepRouterAdvertisements() {
	links, _ := os.ReadDir("/proc/sys/net/ipv6/conf")
	for _, l := range links {
		if n := l.Name(); n == "all" || n == "default" || n == bridgeLink || n == meshLink {
			continue
		}
		path := "/proc/sys/net/ipv6/conf/" + l.Name() + "/accept_ra"
		if got, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(got)) == "1" {
			_ = os.WriteFile(path, []byte("2"), 0o644)
		}
	}
}

// wiring finds containers whose link to this namespace is missing.
func (s *space) wiring(v *view, w *want) ([]netstate.Op, error) {
	if len(w.wires) == 0 {
		return nil, nil
	}
	have, err := s.look(v).LinksByName()
	if err != nil {
		return nil, err
	}
	var ops []netstate.Op
	for _, x := range w.wires {
		if have[x.link] == nil {
			ops = append(ops, netstate.Op{
				What: fmt.Sprintf("link %s of container %s is missing", x.link, x.claim.ID),
				Do:   func() error { return s.connect(v, x) },
			})
		}
	}
	return ops, nil
}

// surplus finds links of ours that nothing wants, as long as everything is known.
func (s *space) surplus(v *view, w *want) ([]netstate.Op, error) {
	if w.additive {
		return nil, nil
	}
	have, err := s.look(v).LinksByName()
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, l := range w.state.Links {
		wanted[l.Name] = true
	}
	var ops []netstate.Op
	for name, l := range have {
		if !wanted[name] && isOurs(l) {
			ops = append(ops, netstate.Op{What: fmt.Sprintf("link %s is unwanted", name), Do: func() error { return netstate.Gone(s.h.LinkDel(l)) }})
		}
	}
	return ops, nil
}

func isOurs(l netlink.Link) bool {
	switch name := l.Attrs().Name; l.Type() {
	case "bridge":
		return name == bridgeLink
	case "vxlan":
		return name == meshLink || name == vxlanLink
	case "veth":
		return isLinkName(portPrefix, name) || isLinkName(vethPrefix, name)
	}
	return false
}

// balance compares the nftables table and forgets the connections that it does not allow any more.
func (s *space) balance(w *want, dry bool) ([]string, error) {
	if len(w.table.Chains) == 0 {
		exists, err := s.nft().Exists()
		if err != nil || !exists {
			return nil, err
		}
		if dry {
			return []string{s.name + ": nft table inet " + nft.Name + " is unwanted"}, nil
		}
		return nil, s.nft().Remove()
	}
	plan, err := s.nft().Compare(w.table, w.additive && s.host == nil) // ports of unnamed containers are in the host's
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, l := range plan.Lines {
		lines = append(lines, s.name+": "+l)
	}
	if dry {
		return lines, nil
	}
	for a := range s.alive {
		s.pending = s.pending || !w.flows.alive[a]
	}
	s.pending = s.pending || w.flows.forbids(s.allowed)
	s.alive, s.allowed = w.flows.alive, w.flows.allowed
	if s.allowed == nil {
		s.allowed = map[flowKey]map[netip.Addr]bool{}
	}
	if err := plan.Apply(); err != nil {
		return lines, err
	}
	if s.pending && !w.additive { // backends that are not named yet look as if they were gone
		if err := w.flows.forget(s.nf, s.h); err != nil {
			return lines, err
		}
		s.pending = false
	}
	return lines, nil
}
