//go:build linux

package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
)

func isInterrupted(err error) bool { return errors.Is(err, netlink.ErrDumpInterrupted) }

// inNS runs f in the Manager's namespace.
func (m *Manager) inNS(f func() error) error {
	if m.own {
		return f()
	}
	return thread.Spend(func() error {
		if err := netns.Set(m.ns); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// isNamespace says whether a namespace is pinned at path.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// at opens netlink in the namespace pinned at path.
func at(path string, f func(nl *netlink.Handle, ns netns.NsHandle) error) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer ns.Close()
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", path, err)
	}
	defer nl.Close()
	return f(nl, ns)
}

// Counters adds up the bytes received and sent by the interfaces of a namespace, loopback left out.
func Counters(path string) (rx, tx uint64, err error) {
	err = at(path, func(nl *netlink.Handle, _ netns.NsHandle) error {
		links, err := retryDump(nl.LinkList)
		for _, l := range links {
			if s := l.Attrs().Statistics; s != nil && l.Attrs().Name != "lo" {
				rx, tx = rx+s.RxBytes, tx+s.TxBytes
			}
		}
		return err
	})
	return rx, tx, err
}

// FirstAddresses are the global addresses of a namespace's first interface besides loopback.
func FirstAddresses(path string) (out []netip.Addr, err error) {
	err = at(path, func(nl *netlink.Handle, _ netns.NsHandle) error {
		link, err := nl.LinkByName("eth0")
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return err
		}
		addrs, err := retryDump(func() ([]netlink.Addr, error) { return nl.AddrList(link, netlink.FAMILY_ALL) })
		for _, a := range addrs {
			if ip, ok := netip.AddrFromSlice(a.IP); ok && unix.RT_SCOPE_UNIVERSE == a.Scope {
				out = append(out, ip.Unmap())
			}
		}
		return err
	})
	return out, err
}
