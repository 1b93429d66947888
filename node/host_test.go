//go:build linux

package node

import (
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
)

// Other nodes are told every address that this host's packets may come from, and none of its containers'.
func TestOwnAddresses(t *testing.T) {
	var got []string
	err := thread.Spend(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var errs []error
		for name, addrs := range map[string][]string{"eth0": {"192.0.2.1/24", "2001:db8::1/64", "fe80::1/64"}, "eth1": {"198.51.100.1/24"}, "shoal0": {"10.112.0.1/32"}, "shbr-0123456789": {"172.17.0.1/16"}, "shgw0": {"203.0.113.1/24"}, "lo": {"127.0.0.1/8"}} {
			link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
			if name != "lo" {
				errs = append(errs, netlink.LinkAdd(link))
			}
			made, err := netlink.LinkByName(name)
			errs = append(errs, err)
			for _, text := range addrs {
				a, _ := netlink.ParseAddr(text)
				errs = append(errs, netlink.AddrAdd(made, a))
			}
		}
		got = ownAddresses()
		return errors.Join(errs...)
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("network namespaces need root")
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"192.0.2.1", "198.51.100.1", "2001:db8::1", "203.0.113.1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
