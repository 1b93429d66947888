//go:build linux

// Package netstate compares the links, addresses, neighbours, routes and rules of one network namespace with a
// wanted State and says or does what is missing.
//
// Its types are State (plain comparable values), Scope (what belongs to us) and Op (one difference and its
// repair). It does not know why something is wanted.
package netstate

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Protocol marks our routes in the kernel (rtm_protocol), so that they are told from everybody else's.
const Protocol = 0x53

// State is what should be in a namespace. Links are created in order.
type State struct {
	Links  []Link
	Addrs  []Addr
	Neighs []Neigh
	FDB    []FDB
	Routes []Route
	Rules  []Rule
}

// Link is an interface. Of the kinds only vxlan and bridge are created here; any other must exist already.
type Link struct {
	Name  string
	Kind  string // vxlan, bridge, or "" for what is only checked
	MTU   int    // 0: as it is
	MAC   string // "": as it is
	VXLAN VXLAN
}

// VXLAN are the fixed properties of a vxlan link; one that differs is made anew.
type VXLAN struct {
	VNI   uint32
	Port  uint16
	Local netip.Addr
}

// Addr is an address on a link.
type Addr struct {
	Dev    string
	Prefix netip.Prefix
}

// Neigh is a permanent neighbour.
type Neigh struct {
	Dev  string
	Addr netip.Addr
	MAC  string
}

// FDB is a forwarding entry of a vxlan link.
type FDB struct {
	Dev  string
	MAC  string
	VTEP netip.Addr
}

// Route is a route of ours.
type Route struct {
	Dst         netip.Prefix
	Via         netip.Addr // reached over Dev without a route of its own (onlink)
	Dev         string
	Src         netip.Addr // preferred source
	Table       int        // 0: main
	Unreachable bool
	Local       bool // to this namespace itself
	Metric      int  // of Local routes, which may be several to one address
}

// Rule is a policy rule: packets with Mark look into Table.
type Rule struct {
	V6       bool
	Priority int
	Mark     uint32
	Table    int
}

// Scope says what else is ours to remove.
type Scope struct {
	// Devices are the links whose addresses, neighbours and forwarding entries are all ours.
	Devices map[string]bool
	// Routes of ours are removed when unwanted, whatever their device, except where Keep says so.
	Keep func(dev string) bool
	// RulePriority is the priority of our rules, 0: no rules.
	RulePriority int
}

// Op is one difference.
type Op struct {
	What string // for a person: "route 10.0.1.5/32 via ... is missing"
	Do   func() error
}

// Apply runs all ops and joins their errors.
func Apply(ops []Op) error {
	var errs []error
	for _, op := range ops {
		if err := op.Do(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", op.What, err))
		}
	}
	return errors.Join(errs...)
}

// retry repeats a dump that the kernel interrupted because the table changed under it.
func retry[T any](list func() ([]T, error)) ([]T, error) {
	for i := 0; ; i++ {
		got, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || i == 20 {
			return got, err
		}
	}
}

// diff splits two sets into what is only in want and what is only in got.
func diff[K comparable](want, got []K) (missing, extra []K) {
	have := make(map[K]bool, len(got))
	for _, g := range got {
		have[g] = true
	}
	wanted := make(map[K]bool, len(want))
	for _, w := range want {
		if !have[w] && !wanted[w] {
			missing = append(missing, w)
		}
		wanted[w] = true
	}
	for _, g := range got {
		if !wanted[g] {
			extra = append(extra, g)
		}
	}
	return missing, extra
}
