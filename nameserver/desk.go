//go:build linux

package nameserver

import (
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

// Desk answers the questions of some askers. What they ask about names of ours never waits: only questions that are passed on are
// counted, so that resolvers that do not answer, or one asker without measure, do not keep anybody from those.
type Desk struct {
	names   func(from netip.Addr) Names
	outside func(from netip.Addr) []Resolver

	mu   sync.Mutex
	open map[netip.Addr]int // questions that were passed on, by asker
	all  int
}

// maxOfOne is how many of maxQuestions one asker may have.
const maxOfOne = maxQuestions / 2

// NewDesk takes what an asker may know, and the resolvers for all other names of his; nil: there are no other names.
func NewDesk(names func(from netip.Addr) Names, outside func(from netip.Addr) []Resolver) *Desk {
	return &Desk{names: names, outside: outside, open: map[netip.Addr]int{}}
}

// ServeDNS answers one question.
func (d *Desk) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		Refuse(w, q, dns.RcodeFormatError)
		return
	}
	from := asker(w)
	if m, ok := Answer(q, d.names(from)); ok {
		Write(w, q, m)
		return
	}
	if !d.enter(from) {
		Refuse(w, q, dns.RcodeServerFailure)
		return
	}
	defer d.leave(from)
	if outside := d.outside(from); outside != nil {
		Forward(w, q, outside)
		return
	}
	Refuse(w, q, dns.RcodeNameError)
}

func (d *Desk) enter(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= maxQuestions || d.open[from] >= maxOfOne {
		return false
	}
	d.all++
	d.open[from]++
	return true
}

func (d *Desk) leave(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.open[from]--; d.open[from] == 0 {
		delete(d.open, from)
	}
}

// asker is who asks, invalid if that cannot be said.
func asker(w dns.ResponseWriter) netip.Addr {
	ap, err := netip.ParseAddrPort(w.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
