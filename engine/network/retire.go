//go:build linux

package network

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// retire takes a container's interface out of use at once and deletes it beside: the kernel needs tens of milliseconds to
// forget one, because it waits for all CPUs (rcu_barrier in netdev_run_todo), and nobody else has to. One that is down
// neither sends nor answers for its addresses, which may be another container's by then.
func (m *Manager) retire(l netlink.Link) error {
	name := l.Attrs().Name
	if err := m.nl.LinkSetDown(l); errors.Is(err, unix.ENODEV) {
		return nil // with the namespace
	} else if err != nil {
		return fmt.Errorf("set link %s down: %w", name, err)
	}
	m.cfg.FaultPoint("network.down")
	gone := make(chan struct{})
	m.retired[name] = gone
	m.background.Go(func() {
		if err := deleteLink(m.slow, l); err != nil {
			m.log.Warn("interface is left to the next reconciliation", "error", err)
		}
		close(gone)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.retired[name] == gone {
			delete(m.retired, name)
		}
	})
	return nil
}

// awaitRetired returns once an interface of this name, of a container that comes back at once, is gone.
func (m *Manager) awaitRetired(name string) {
	if gone, ok := m.retired[name]; ok {
		<-gone
	}
}
