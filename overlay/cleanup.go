//go:build linux

package overlay

import (
	"context"
	"errors"
	"os"

	"github.com/shoal-dev/shoal/overlay/netstate"
)

func (o *Overlay) cleanup(context.Context) error {
	o.mu.Lock()
	o.desired, o.claims, o.adopted = nil, map[string]*Attachment{}, false
	o.mu.Unlock()
	ids, err := o.mounted()
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, o.removeSandbox(id))
	}
	if err := os.Remove(o.sandboxDir()); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	errs = append(errs, o.host.clear())
	o.tell()
	return errors.Join(errs...)
}

// clear removes what is ours from the daemon's own namespace: translation first, so that nothing is led to links that
// are going, then links with their routes, then what is left of routes and rules.
func (s *space) clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = [32]byte{}
	errs := []error{s.nft().Remove(), s.removeLinks(isOurs)}
	ops, err := s.look(&view{}).Diff(netstate.State{}, netstate.Scope{RulePriority: rulePriority})
	return errors.Join(append(errs, err, netstate.Apply(ops))...)
}
