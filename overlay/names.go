//go:build linux

package overlay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/shoal-dev/shoal/internal/names"
)

// Names and numbers of ours in the kernel.
const (
	bridgeLink = "shoal0" // carries this node's address on the gateway network, in the daemon's namespace
	meshLink   = "shmesh" // VXLAN between the nodes' gateway subnets, in the daemon's namespace
	vxlanLink  = "shvx"   // VXLAN of a network, in its sandbox
	portPrefix = "shg"    // a container's link to the gateway network, in the daemon's namespace
	portLinks  = portPrefix + "*"
	vethPrefix = "shv" // a container's link to a sandbox

	// MeshVNI is the VXLAN number of the node-to-node network. Overlay networks must have others.
	MeshVNI = 4095

	// An ingress connection is marked with the number of the node it came in by, in the lower half; the same value is
	// the routing table that leads back there.
	markBase     = 0x53480000
	markMask     = 0xffff0000
	rulePriority = 21320

	outsideMAC = "02:53:48:00:00:01" // our side of every container's link
	insideMAC  = "02:53:48:00:00:02" // the container's side

	maxNumber = 0xfffe // node numbers are put into addresses of 169.254.0.0/16
)

// linkName makes a name for a container's link on our side: it fits 15 characters and follows from the ID alone, so
// that a daemon that knows nothing else can tell whose it is.
func linkName(prefix, attachmentID string) string {
	sum := sha256.Sum256([]byte(attachmentID))
	return prefix + hex.EncodeToString(sum[:5])
}

// isLinkName knows the names that linkName makes from those of other people.
func isLinkName(prefix, name string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && names.Hex(rest, 10, 10)
}

// nodeMAC is the address of a node's VXLAN links, the same on every network: peers and ingress know it without asking.
func nodeMAC(number uint32) string {
	return fmt.Sprintf("02:53:4e:00:%02x:%02x", byte(number>>8), byte(number))
}

// nexthop is how routes name a peer. It is never in a packet.
func nexthop(number uint32, v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 12: 0x53, 13: 0x48, 14: byte(number >> 8), 15: byte(number)})
	}
	return netip.AddrFrom4([4]byte{169, 254, byte(number >> 8), byte(number)})
}

func nodeMark(number uint32) uint32 { return markBase | number }

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func anyPrefix(v6 bool) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
