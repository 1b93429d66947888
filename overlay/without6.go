//go:build linux

package overlay

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/overlay/netns"
)

// without6 leaves out the IPv6 addresses of interfaces on which the container has switched it off, as by
// --sysctl net.ipv6.conf.all.disable_ipv6=1: the kernel refuses them there. fewer says that there were any.
func (a *Attachment) without6(inside *netns.NS) (some *Attachment, fewer bool) {
	out := *a
	out.Networks = slices.Clone(a.Networks)
	_ = inside.Do(func() error { // one that is gone has nothing switched off
		for i := range out.Networks {
			if isOff6(i) {
				out.Networks[i].Addrs, fewer = addrs4(out.Networks[i].Addrs), true
			}
		}
		if isOff6(len(out.Networks)) {
			out.Gateway, fewer = prefixes4(out.Gateway), true
		}
		return nil
	})
	return &out, fewer
}

// isOff6 says whether IPv6 is switched off on an interface of the thread's namespace, by its number in the container.
func isOff6(eth int) bool {
	value, err := os.ReadFile(fmt.Sprintf("/proc/sys/net/ipv6/conf/eth%d/disable_ipv6", eth))
	return err == nil && strings.TrimSpace(string(value)) != "0"
}
