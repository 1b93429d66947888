//go:build linux

package network

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-dev/shoal/proto/api"
)

// Attach wires one container: bridges, interfaces, addresses, routes, rules. It may be repeated, and with other endpoints
// than before: then the difference is made, and the other interfaces notice nothing.
func (m *Manager) Attach(_ context.Context, a Attachment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave(m.attached[a.Container])
	m.attached[a.Container] = a
	if err := m.attach(a); err != nil {
		return fmt.Errorf("attach container to networks: %w", err)
	}
	if err := m.applyRules(m.rules()); err != nil {
		return err
	}
	m.forgetFlows(a)
	return nil
}

// Detach undoes Attach and Reserve; for an unknown container it does nothing. A bridge that nobody needs any more, and the
// rules about it, are left to Reconcile.
func (m *Manager) Detach(_ context.Context, container string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	closeAll(m.holds[container])
	delete(m.holds, container)
	a, known := m.attached[container]
	if !known {
		return nil
	}
	delete(m.attached, container)
	m.leave(a)
	var errs []error
	for _, ep := range a.Endpoints {
		l, err := m.link(vethName(container, ep.NetworkId))
		if err == nil && l != nil {
			err = m.retire(l)
		}
		errs = append(errs, err)
	}
	errs = append(errs, m.applyRules(m.rules()))
	m.forgetFlows(a)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("detach container from networks: %w", err)
	}
	return nil
}

// leave remembers the networks that a container has left. The next one may come at once: bridge and rules stay until
// Reconcile, since to make and delete them costs more than the rest of a container's start.
func (m *Manager) leave(a Attachment) {
	for _, ep := range a.Endpoints {
		m.idle[ep.NetworkId] = true
	}
}

// hostLink is the name of what a network's containers are on.
func hostLink(n *api.LocalNetwork) string {
	if n.Driver == Bridge {
		return n.Bridge
	}
	return optionsOf(n).parent
}
