//go:build linux

package netstate

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the kernel does later, by workers that wait for a lock that all changes of links take: it may take its time if many others
// come and go. Until it is done the kernel drops packets, and a first connection is a second late.
const (
	notices = 2 * time.Second // how long it is waited for
	every   = 200 * time.Microsecond
)

// Carry waits until links carry packets. The end of a veth that is set up first hears of the other by a worker. Kernels since 6.8 do at
// once what they have noticed about a link that is looked at. One that stays down is not waited for for ever: a container may want it so.
func (s Space) Carry(names ...string) error {
	return await(names, func(name string) (bool, error) {
		l, err := s.H.LinkByName(name)
		if err != nil {
			return false, fmt.Errorf("find link %s: %w", name, err)
		}
		return l.Attrs().OperState == netlink.OperUp, nil
	})
}

// Local waits until packets to these addresses are taken. An address of IPv6 is there at once, the route that says it is this namespace's
// own is made by a worker, even if nobody is asked whether it is a duplicate.
func (s Space) Local(addrs ...Addr) error {
	return await(addrs, func(a Addr) (bool, error) {
		if a.Prefix.Addr().Is4() {
			return true, nil
		}
		routes, err := s.H.RouteGet(a.Prefix.Addr().AsSlice())
		return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL, nil
	})
}

func await[T any](all []T, done func(T) (bool, error)) error {
	end := time.Now().Add(notices)
	for _, x := range all {
		for ok, err := done(x); !ok; ok, err = done(x) {
			if err != nil || time.Now().After(end) {
				return err
			}
			time.Sleep(every)
		}
	}
	return nil
}
