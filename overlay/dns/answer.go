package dns

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// answer makes the reply to a question about our names; false: the name is not ours.
func (z *zone) answer(network string, from netip.Addr, q *dns.Msg) (*dns.Msg, bool) {
	question := q.Question[0]
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if question.Qtype == dns.TypePTR {
		addr, ok := fromReverse(question.Name)
		if !ok {
			return nil, false
		}
		name, ok := z.name(network, from, addr)
		if !ok {
			return nil, false
		}
		m.Answer = append(m.Answer, &dns.PTR{Hdr: header(question), Ptr: dns.Fqdn(name)})
		return m, true
	}
	addrs, ok := z.lookup(network, from, question.Name)
	if !ok {
		return nil, false
	}
	for _, a := range addrs {
		switch {
		case question.Qtype == dns.TypeA && a.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: header(question), A: net.IP(a.AsSlice())})
		case question.Qtype == dns.TypeAAAA && a.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(question), AAAA: net.IP(a.AsSlice())})
		}
	}
	rand.Shuffle(len(m.Answer), func(i, j int) { m.Answer[i], m.Answer[j] = m.Answer[j], m.Answer[i] })
	return m, true
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

// sizeLimit is how large an answer may be: what the asker said over UDP, anything over TCP.
func sizeLimit(w dns.ResponseWriter, q *dns.Msg) int {
	if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
		return dns.MaxMsgSize
	}
	if o := q.IsEdns0(); o != nil && o.UDPSize() > dns.MinMsgSize {
		return int(o.UDPSize())
	}
	return dns.MinMsgSize
}
