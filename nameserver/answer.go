// Package nameserver answers DNS questions: about names that its user knows, and about all others through other
// resolvers. It knows neither networks nor containers; engine and overlay say what the names mean.
//
// Nothing is cached and answers carry a TTL of zero: there is no second truth that could go stale.
package nameserver

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Names is what an asker may know. It is asked anew for every question.
type Names interface {
	// Lookup returns the addresses of a name, in lower case and without the final dot; false: the name is not ours.
	Lookup(name string) ([]netip.Addr, bool)
	// Reverse returns who has an address.
	Reverse(addr netip.Addr) (string, bool)
}

// Answer makes the reply to a question about names of ours; false: it is about others.
func Answer(q *dns.Msg, names Names) (*dns.Msg, bool) {
	question := q.Question[0]
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if question.Qtype == dns.TypePTR {
		addr, _ := fromReverse(question.Name)
		name, ok := names.Reverse(addr)
		m.Answer = append(m.Answer, &dns.PTR{Hdr: header(question), Ptr: dns.Fqdn(name)})
		return m, ok
	}
	addrs, ok := names.Lookup(strings.ToLower(strings.TrimSuffix(question.Name, ".")))
	for _, a := range addrs {
		switch {
		case question.Qtype == dns.TypeA && a.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: header(question), A: net.IP(a.AsSlice())})
		case question.Qtype == dns.TypeAAAA && a.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(question), AAAA: net.IP(a.AsSlice())})
		}
	}
	rand.Shuffle(len(m.Answer), func(i, j int) { m.Answer[i], m.Answer[j] = m.Answer[j], m.Answer[i] })
	return m, ok
}

func header(q dns.Question) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 0}
}

// fromReverse parses in-addr.arpa and ip6.arpa names (RFC 1035 section 3.5, RFC 3596 section 2.5).
func fromReverse(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		p := strings.Split(rest, ".")
		if len(p) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(p[3] + "." + p[2] + "." + p[1] + "." + p[0])
		return a, err == nil
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	digits := strings.Split(rest, ".")
	if !ok || len(digits) != 32 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i, d := range digits {
		v, err := strconv.ParseUint(d, 16, 4)
		if err != nil {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(v) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}

// Write sends an answer, cut to what the asker takes: what it said over UDP, anything over TCP.
func Write(w dns.ResponseWriter, q, m *dns.Msg) {
	if q.IsEdns0() != nil && m.IsEdns0() == nil {
		m.SetEdns0(maxDatagram, false) // who says it is owed an answer that says so (RFC 6891, section 6.1.1)
	}
	m.Truncate(sizeLimit(w, q))
	w.WriteMsg(m)
}

// maxDatagram is how long an answer over UDP may be. IPv4 takes 65507 bytes, less than an asker may say it takes.
const maxDatagram = 4096

func sizeLimit(w dns.ResponseWriter, q *dns.Msg) int {
	if isTCP(w) {
		return dns.MaxMsgSize
	}
	if o := q.IsEdns0(); o != nil && o.UDPSize() > dns.MinMsgSize {
		return min(int(o.UDPSize()), maxDatagram)
	}
	return dns.MinMsgSize
}

func isTCP(w dns.ResponseWriter) bool {
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	return tcp
}

// Refuse answers with an error code.
func Refuse(w dns.ResponseWriter, q *dns.Msg, rcode int) {
	m := new(dns.Msg)
	w.WriteMsg(m.SetRcode(q, rcode))
}
