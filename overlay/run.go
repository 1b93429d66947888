//go:build linux

package overlay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/shoal-dev/shoal/overlay/netns"
)

const (
	debounce    = 4 * time.Millisecond // changes come in bursts
	insideEvery = 6                    // a look into the containers with every sixth look at the kernel
)

func (o *Overlay) run(ctx context.Context) error {
	tick := time.NewTicker(o.cfg.Interval)
	defer tick.Stop()
	var last string
	obstacles := o.warn(nil)
	for n := 0; ; {
		full := false
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(debounce):
			}
			select {
			case <-o.wake:
			default:
			}
		case <-tick.C:
			full = true
			n++
		}
		inside := full && n%insideEvery == 0
		err := o.reconcile(full, inside)
		if inside {
			obstacles = o.warn(obstacles)
		}
		if err != nil && err.Error() != last {
			o.log.Error("network is not as it should be", "error", err)
		}
		last = ""
		if err != nil {
			last = err.Error()
		}
	}
}

// view takes a snapshot of what is wanted, nil before the first Set that knows this node.
func (o *Overlay) view() (*view, error) {
	o.mu.Lock()
	d, down, lost := o.desired, maps.Clone(o.down), o.lost()
	o.mu.Unlock()
	if d == nil {
		return nil, nil
	}
	v := newView(o.cfg, d, down)
	v.lost = lost
	v.claims, v.adopted = o.living()
	if err := o.measure(v); err != nil {
		return nil, err
	}
	if v.self.NodeID == "" {
		return nil, nil // just admitted: its number is on its way
	}
	return v, nil
}

// living are the attachments whose containers exist, ordered by ID, and whether they are all. An attachment is
// registered before its links are made and forgotten before they are removed, both under the lock of their namespace:
// who holds that lock and asks here sees no link without its attachment.
func (o *Overlay) living() ([]*Attachment, bool) {
	o.mu.Lock()
	all, adopted := slices.Collect(maps.Values(o.claims)), o.adopted
	o.mu.Unlock()
	all = slices.DeleteFunc(all, func(a *Attachment) bool { return !netns.Exists(a.NetNS) }) // ended; Detach will come
	slices.SortFunc(all, func(a, b *Attachment) int { return cmp.Compare(a.ID, b.ID) })
	return all, adopted
}

// died says whether any of these has ended meanwhile.
func (o *Overlay) died(claims []*Attachment) bool {
	return slices.ContainsFunc(claims, func(a *Attachment) bool { return !netns.Exists(a.NetNS) })
}

// reconcile makes the kernel equal to what is wanted. Unless full, what was made true before is believed to be true.
func (o *Overlay) reconcile(full, inside bool) error {
	v, err := o.view()
	if v == nil || err != nil {
		return err
	}
	var errs []error
	undressed := map[string]*Attachment{}
	visit := func(s *space, build func() *want) {
		s.mu.Lock()
		defer s.mu.Unlock()
		v.claims, v.adopted = o.living()
		w := build()
		if !full && s.done == w.digest() {
			return
		}
		lines, err := s.apply(v, w, false)
		if err != nil && o.died(v.claims) {
			o.log.Debug("containers ended while their network was looked at", "error", err)
			err = nil // Detach will come, and with it another look
		}
		errs = append(errs, err)
		if full && len(lines) > 0 {
			o.log.Warn("repaired network", "differences", len(lines), "first", lines[0])
		}
		for _, c := range s.undressed {
			undressed[c.ID] = c
		}
		s.undressed = nil
	}
	if v.adopted { // first: a new network may have the VXLAN number of one that is no more
		errs = append(errs, o.removeUnwanted(v))
	}
	visit(o.host, v.host)
	for _, id := range slices.Sorted(maps.Keys(v.networks)) {
		s, err := o.sandbox(v.networks[id])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		visit(s, func() *want { return v.network(v.networks[id]) })
	}
	if inside {
		for _, c := range v.claims {
			undressed[c.ID] = c
		}
	}
	for _, c := range undressed {
		if o.isWiring(c.ID) {
			continue
		}
		if _, err := dress(v, c, false); err != nil && !errors.Is(err, os.ErrNotExist) && !o.died([]*Attachment{c}) {
			errs = append(errs, err)
		}
	}
	for _, p := range v.problems {
		errs = append(errs, errors.New(p))
	}
	o.tell()
	return errors.Join(errs...)
}

func (o *Overlay) check(ctx context.Context) ([]string, error) {
	v, err := o.view()
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, errors.New("overlay: nothing is wanted yet: this node did not hear from a manager since its daemon started")
	}
	lines := slices.Clone(v.problems)
	look := func(s *space, build func() *want) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		v.claims, v.adopted = o.living()
		w := build()
		done := s.done
		more, err := s.apply(v, w, true)
		s.done = done
		if err == nil && len(more) > 0 {
			s.done = [32]byte{} // to be repaired at the next occasion
		}
		lines = append(lines, more...)
		return err
	}
	if err := look(o.host, v.host); err != nil {
		return lines, err
	}
	for _, id := range slices.Sorted(maps.Keys(v.networks)) {
		if err := ctx.Err(); err != nil {
			return lines, err
		}
		s, err := o.existing(v.networks[id])
		if err != nil {
			return lines, err
		}
		if s == nil {
			lines = append(lines, fmt.Sprintf("network %s: its namespace is missing", v.networks[id].Name))
			continue
		}
		if err := look(s, func() *want { return v.network(v.networks[id]) }); err != nil {
			return lines, err
		}
	}
	for _, c := range v.claims {
		more, err := dress(v, c, true)
		if err != nil {
			more = append(more, err.Error())
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// warn says once what others have set up on this host that may stand in the way. It is theirs to change, and whether a
// rule of theirs lets us through is not known here: so it is no difference that Check would tell. told is what was said.
func (o *Overlay) warn(told []string) []string {
	chains, err := o.host.nft().Dropping()
	if err != nil || slices.Equal(chains, told) {
		return told
	}
	for _, c := range chains {
		o.log.Warn("a firewall drops forwarded packets that it does not know (Docker makes one): unless it accepts what goes in and out by these links, "+
			"published ports and the way out of containers do not work", "firewall", c, "links", portLinks+" "+meshLink)
	}
	return chains
}
