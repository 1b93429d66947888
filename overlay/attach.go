//go:build linux

package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
)

func (o *Overlay) attach(ctx context.Context, a Attachment) error {
	if o.cfg.ipv4Only {
		a = a.only4()
	}
	if a.ID == "" {
		return errors.New("attach: the container has no ID")
	}
	if len(a.HostPorts) > 0 && len(a.Gateway) == 0 {
		return fmt.Errorf("attach container %s: it publishes ports on this node but has no address on the gateway network", a.ID)
	}
	seen := map[string]bool{}
	for _, n := range a.Networks {
		if seen[n.NetworkID] {
			return fmt.Errorf("attach container %s: it has two interfaces on network %s; give one several addresses", a.ID, n.NetworkID)
		}
		seen[n.NetworkID] = true
	}
	ns, err := netns.Open(a.NetNS)
	if err != nil {
		return fmt.Errorf("attach container %s: %w", a.ID, err)
	}
	ns.Close()
	wired := o.wasWired(a)
	if wired {
		o.claim(a)
	}
	if err := o.known(ctx, a); err != nil {
		return err
	}
	defer o.wire(a.ID)()
	before := o.claim(a)
	v, err := o.view()
	if err == nil && v == nil {
		err = errors.New("managers have not told this node its own number yet")
	}
	if err == nil {
		err = o.wireUp(v, &a)
	}
	if err != nil {
		if before == nil { // else Run goes on trying, and what works stays
			o.unclaim(a.ID)
			_ = o.unwire(a.ID)
		}
		return fmt.Errorf("attach container %s: %w", a.ID, err)
	}
	o.tell()
	return nil
}

// known waits until the view of this node has all that the attachment speaks of.
func (o *Overlay) known(ctx context.Context, a Attachment) error {
	for {
		o.mu.Lock()
		changed, missing := o.changed, missingIn(o.cfg.NodeID, o.desired, a)
		o.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("attach container %s: %s: %w", a.ID, missing, ctx.Err())
		}
	}
}

func missingIn(nodeID string, d *Desired, a Attachment) string {
	if d == nil {
		return "no manager has said what this node should know"
	}
	have := map[string]bool{}
	for _, n := range d.Networks {
		have[n.ID] = true
	}
	for _, n := range a.Networks {
		if !have[n.NetworkID] {
			return fmt.Sprintf("network %s is not among this node's networks", n.NetworkID)
		}
	}
	for _, p := range d.Peers {
		if p.NodeID == nodeID && p.Number != 0 && (len(a.Gateway) == 0 || len(p.Gateways) > 0) {
			return ""
		}
	}
	return "this node has no number or no gateway subnet yet"
}

// wire keeps others from looking inside a container that is being attached, until done is called.
func (o *Overlay) wire(id string) (done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wiring[id]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.wiring[id]--; o.wiring[id] == 0 {
			delete(o.wiring, id)
		}
	}
}

func (o *Overlay) isWiring(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wiring[id] > 0
}

// claim registers the attachment and returns what it replaces.
func (o *Overlay) claim(a Attachment) *Attachment {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.claims[a.ID]
	if before == nil || !reflect.DeepEqual(*before, a) {
		o.claims[a.ID] = &a
	}
	return before
}

func (o *Overlay) unclaim(id string) *Attachment {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.claims[id]
	delete(o.claims, id)
	return before
}

// wireUp gives a container its links and what belongs to them here and inside.
func (o *Overlay) wireUp(v *view, a *Attachment) error {
	var carry []func() error
	for i, at := range a.Networks {
		n, ok := v.networks[at.NetworkID]
		if !ok {
			return fmt.Errorf("network %s cannot be used: %v", at.NetworkID, v.problems)
		}
		s, err := o.sandbox(n)
		if err != nil {
			return err
		}
		o.makeRoom(s, v)
		x := v.networkWire(a, i)
		if err := o.admit(s, v, func() *want { return v.network(n) }, x, at.Addrs); err != nil {
			return err
		}
		carry = append(carry, func() error { return s.look(v).Carry(x.link) })
	}
	if len(a.Gateway) > 0 {
		x := v.gatewayWire(a)
		var addrs []netip.Addr
		for _, g := range a.Gateway {
			addrs = append(addrs, g.Addr())
		}
		if err := o.admit(o.host, v, v.host, x, addrs); err != nil {
			return err
		}
		carry = append(carry, func() error { return o.host.look(v).Carry(x.link) })
	}
	if _, err := dress(v, a, false); err != nil {
		return err
	}
	for _, c := range carry {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

// wasWired says whether an earlier daemon has wired a container. Nobody else has before Adopt.
func (o *Overlay) wasWired(a Attachment) bool {
	o.mu.Lock()
	adopted := o.adopted
	o.mu.Unlock()
	if adopted {
		return false
	}
	if o.host.has(linkName(portPrefix, a.ID)) {
		return true
	}
	return slices.ContainsFunc(a.Networks, func(at AttachedNetwork) bool {
		s, err := o.existing(Network{ID: at.NetworkID, Name: at.NetworkID})
		return err == nil && s != nil && s.has(linkName(vethPrefix, a.ID))
	})
}

// makeRoom removes networks that are no more before a new one is made, which may have the VXLAN number of one of them: a
// container's start must not depend on when Run gets to it. What cannot be removed, Run tells.
func (o *Overlay) makeRoom(s *space, v *view) {
	s.mu.Lock()
	made := s.done != [32]byte{}
	s.mu.Unlock()
	if _, adopted := o.living(); adopted && !made {
		_ = o.removeUnwanted(v)
	}
}

// admit lets one container in. A namespace that was made true before gets only what the container adds, so that the
// cost of a start does not grow with what runs already.
func (o *Overlay) admit(s *space, v *view, all func() *want, x wire, addrs []netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == [32]byte{} || len(x.claim.HostPorts) > 0 && x.gateway {
		v.claims, v.adopted = o.living()
		w := all()
		_, err := s.apply(v, w, false)
		if err != nil {
			err = s.admitAlone(v, all, x)
		}
		if err == nil {
			err = s.look(v).Local(w.state.Addrs...)
		}
		s.undressed = nil // the caller does it
		return err
	}
	if _, err := s.h.LinkByName(x.link); err != nil {
		if err := s.connect(v, x); err != nil {
			return err
		}
		s.undressed = nil
	}
	if x.gateway {
		if err := s.ns.Do(func() error { return netns.Write(v.onLink(x.link)) }); err != nil {
			return err
		}
	}
	var extra netstate.State
	if x.gateway {
		extra.Routes = v.loopback(x.link)
	}
	for _, a := range addrs {
		extra.Neighs = append(extra.Neighs, netstate.Neigh{Dev: x.link, Addr: a.Unmap(), MAC: x.macIn})
		extra.Routes = append(extra.Routes, netstate.Route{Dst: host(a.Unmap()), Dev: x.link})
	}
	return s.look(v).Ensure(extra)
}

// admitAlone lets one container in where all that is wanted could not be had. Others may have spoilt what is theirs, if they are
// allowed to change their interfaces: those are left out, and left to Run, which says so.
func (s *space) admitAlone(v *view, all func() *want, x wire) error {
	have, err := s.look(v).LinksByName()
	if err != nil {
		return err
	}
	claims, adopted := v.claims, v.adopted
	defer func() { v.claims, v.adopted = claims, adopted }()
	v.adopted = false // what is left out is not to be removed
	v.claims = slices.DeleteFunc(slices.Clone(claims), func(c *Attachment) bool {
		return c.ID != x.claim.ID && have[x.linkOf(c)] == nil
	})
	_, err = s.apply(v, all(), false)
	s.done = [32]byte{}
	return err
}

// linkOf is the name of another container's link in the same namespace.
func (x wire) linkOf(c *Attachment) string {
	if x.gateway {
		return linkName(portPrefix, c.ID)
	}
	return linkName(vethPrefix, c.ID)
}

func (o *Overlay) detach(ctx context.Context, id string) error {
	before := o.unclaim(id)
	err := o.unwire(id)
	if before != nil {
		o.mu.Lock()
		o.announce()
		o.mu.Unlock()
	}
	return err
}

// unwire removes a container's links by their names, which follow from its ID. Routes and neighbours go with them.
func (o *Overlay) unwire(id string) error {
	ids, err := o.mounted()
	if err != nil {
		return err
	}
	for _, n := range ids { // sandboxes that were not used since the daemon started are not open yet
		if _, err := o.existing(Network{ID: n, Name: n}); err != nil {
			return err
		}
	}
	o.spaces.Lock()
	boxes := maps.Clone(o.boxes)
	o.spaces.Unlock()
	errs := make(chan error, 1+len(boxes))
	go func() { errs <- o.host.drop(linkName(portPrefix, id)) }()
	for _, s := range boxes {
		go func() { errs <- s.drop(linkName(vethPrefix, id)) }()
	}
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return fmt.Errorf("detach container %s: %w", id, err)
	}
	return nil
}
