//go:build linux

package overlay

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/shoal-dev/shoal/overlay/netns"
)

// sandbox opens the namespace of a network, making it if need be.
func (o *Overlay) sandbox(n Network) (*space, error) {
	o.spaces.Lock()
	defer o.spaces.Unlock()
	if s, err := o.openSandbox(n.ID, "network "+n.Name); s != nil || err != nil {
		return s, err
	}
	if err := netns.Create(o.SandboxPath(n.ID)); err != nil {
		return nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	return o.openSandbox(n.ID, "network "+n.Name)
}

// existing opens the namespace of a network, nil if there is none.
func (o *Overlay) existing(n Network) (*space, error) {
	o.spaces.Lock()
	defer o.spaces.Unlock()
	return o.openSandbox(n.ID, "network "+n.Name)
}

// openSandbox opens what is mounted. Called with spaces held.
func (o *Overlay) openSandbox(id, name string) (*space, error) {
	ns, err := netns.Open(o.SandboxPath(id))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, netns.ErrNotMounted) {
		o.forgetSandbox(id)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if s := o.boxes[id]; s != nil {
		if s.ns.Same(ns) {
			ns.Close()
			return s, nil
		}
		o.forgetSandbox(id) // somebody unmounted it and another was made
	}
	s, err := openSpace(name, ns, o.host)
	if err != nil {
		ns.Close()
		return nil, err
	}
	o.boxes[id] = s
	return s, nil
}

func (o *Overlay) forgetSandbox(id string) {
	if s := o.boxes[id]; s != nil {
		s.mu.Lock()
		s.close()
		s.mu.Unlock()
		delete(o.boxes, id)
	}
}

// mounted lists the networks that have a place in the run directory.
func (o *Overlay) mounted() ([]string, error) {
	entries, err := os.ReadDir(o.sandboxDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, nil
}

// removeUnwanted removes the sandboxes of networks that this node has no part in any more.
func (o *Overlay) removeUnwanted(v *view) error {
	ids, err := o.mounted()
	if err != nil {
		return err
	}
	var errs []error
	v.claims, _ = o.living()
	for _, id := range ids {
		if !o.wanted(id) && len(v.claimsOn(id)) == 0 {
			errs = append(errs, o.removeSandbox(id))
		}
	}
	return errors.Join(errs...)
}

// wanted tells whether the newest view has a network.
func (o *Overlay) wanted(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.desired == nil || slices.ContainsFunc(o.desired.Networks, func(n Network) bool { return n.ID == id })
}

// removeSandbox takes the links down first: the VXLAN number is free when this returns, not when the last who looks
// into the namespace lets it go.
func (o *Overlay) removeSandbox(id string) error {
	o.spaces.Lock()
	defer o.spaces.Unlock()
	s, err := o.openSandbox(id, "network "+id)
	if err != nil {
		return err
	}
	if s != nil {
		s.mu.Lock()
		err := s.removeLinks(func(l netlink.Link) bool { return l.Attrs().Name != "lo" })
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	o.forgetSandbox(id)
	return netns.Remove(o.SandboxPath(id))
}

func (s *space) removeLinks(which func(netlink.Link) bool) error {
	links, err := s.look(&view{}).LinksByName()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if !which(links[name]) {
			continue
		}
		if err := s.h.LinkDel(links[name]); err != nil && !isGone(err) {
			errs = append(errs, fmt.Errorf("%s: remove link %s: %w", s.name, name, err))
		}
	}
	return errors.Join(errs...)
}

func (o *Overlay) sandboxes() []Sandbox {
	o.mu.Lock()
	d := o.desired
	o.mu.Unlock()
	if d == nil {
		return nil
	}
	v := newView(o.cfg, d, nil)
	var out []Sandbox
	bridge := Sandbox{}
	for _, v6 := range v.families() {
		bridge.Gateways = append(bridge.Gateways, v.gateway(v6).Addr())
	}
	o.spaces.Lock()
	defer o.spaces.Unlock()
	o.host.mu.Lock()
	up := o.host.done != [32]byte{}
	o.host.mu.Unlock()
	if len(bridge.Gateways) > 0 && up {
		out = append(out, bridge)
	}
	for _, id := range slices.Sorted(maps.Keys(v.networks)) {
		if o.boxes[id] == nil {
			continue
		}
		s := Sandbox{NetworkID: id, Path: o.SandboxPath(id), Inode: o.boxes[id].ns.Inode()}
		for _, sub := range v.networks[id].Subnets {
			s.Gateways = append(s.Gateways, sub.Gateway.Unmap())
		}
		out = append(out, s)
	}
	return out
}

// tell calls OnSandbox if the list changed.
func (o *Overlay) tell() {
	if o.cfg.OnSandbox == nil {
		return
	}
	o.notify.Lock()
	defer o.notify.Unlock()
	list := o.sandboxes()
	if slices.EqualFunc(list, o.notified, func(a, b Sandbox) bool {
		return a.NetworkID == b.NetworkID && a.Inode == b.Inode && slices.Equal(a.Gateways, b.Gateways)
	}) {
		return
	}
	o.notified = list
	o.cfg.OnSandbox(slices.Clone(list))
}
