//go:build linux

package overlay

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/shoal-dev/shoal/overlay/netns"
	"github.com/shoal-dev/shoal/overlay/netstate"
	"github.com/shoal-dev/shoal/overlay/nft"
)

// want is all that one namespace should hold.
type want struct {
	before []netns.Sysctl // needed before links are made
	after  []netns.Sysctl
	state  netstate.State // with Links
	scope  netstate.Scope
	wires  []wire
	table  nft.Table
	flows  *flows
	// additive: containers that were not named yet may have links, routes and ports here.
	additive bool
}

// wire is one interface of a local container and its end on our side.
type wire struct {
	claim   *Attachment
	link    string // our end
	inside  string // the container's end: eth0, ...
	macOut  string
	macIn   string
	mtu     int
	gateway bool // to the gateway network
}

// digest changes whenever the want does.
func (w *want) digest() [32]byte {
	var b strings.Builder
	fmt.Fprintln(&b, w.before, w.after, w.state, w.additive)
	for _, x := range w.wires {
		fmt.Fprintln(&b, x.claim.ID, x.claim.NetNS, x.link, x.inside, x.mtu)
	}
	b.WriteString(w.table.String())
	fmt.Fprintln(&b, w.flows)
	return sha256.Sum256([]byte(b.String()))
}

// keepUnknown says to leave links alone that start with prefix and belong to nobody that is known, as long as not every
// running container was named.
func (w *want) keepUnknown(prefix string) func(string) bool {
	known := map[string]bool{}
	for _, x := range w.wires {
		known[x.link] = true
	}
	return func(dev string) bool { return w.additive && strings.HasPrefix(dev, prefix) && !known[dev] }
}
