//go:build linux

package overlay

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// drop takes a link out of use and deletes it. Deleting takes the kernel tens of milliseconds, because it waits for all CPUs,
// and a handle makes one request after another: nobody else who uses this namespace is kept waiting.
func (s *space) drop(link string) error {
	l, err := s.down(link)
	if err == nil {
		err = s.forget(l)
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("%s: remove link %s: %w", s.name, link, err)
	}
	return nil
}

func (s *space) down(link string) (netlink.Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.h.LinkByName(link)
	if err != nil {
		return nil, err
	}
	return l, s.h.LinkSetDown(l)
}

func (s *space) forget(l netlink.Link) error {
	var h *netlink.Handle
	err := s.ns.Use(func(fd int) (err error) { // the sandbox may be removed at any time
		h, err = netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return err
	}
	defer h.Close()
	return h.LinkDel(l)
}

func isGone(err error) bool {
	return isLinkNotFound(err) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EBADF) || errors.Is(err, os.ErrClosed)
}
