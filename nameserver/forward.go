//go:build linux

package nameserver

import (
	"bufio"
	"net"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// forwardTimeout is per resolver and try; glibc gives up on us after 5 s.
const forwardTimeout = 2 * time.Second

// Resolver is another server, as HOST:PORT, and the network namespace to ask it from ("": this process's).
type Resolver struct{ Addr, NetNS string }

// Forward asks resolvers in order and passes the first answer on.
func Forward(w dns.ResponseWriter, q *dns.Msg, resolvers []Resolver) {
	for _, r := range resolvers {
		if m := r.exchange(q, isTCP(w)); m != nil {
			Write(w, q, m)
			return
		}
	}
	Refuse(w, q, dns.RcodeServerFailure)
}

func (r Resolver) exchange(q *dns.Msg, tcp bool) *dns.Msg {
	network := "udp"
	if tcp {
		network = "tcp"
	}
	var conn net.Conn
	err := Inside(r.NetNS, func() (err error) {
		conn, err = net.DialTimeout(network, r.Addr, forwardTimeout)
		return err
	})
	if err != nil {
		return nil
	}
	defer conn.Close()
	client := &dns.Client{Net: network, Timeout: forwardTimeout}
	m, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: conn})
	if err != nil || m.Rcode == dns.RcodeServerFailure || m.Rcode == dns.RcodeRefused {
		return nil
	}
	return m
}

// HostResolvers reads the nameserver lines of a resolv.conf. Loopback resolvers count too: questions are asked from
// the host's namespace, not from the container's.
func HostResolvers(path string) []Resolver {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []Resolver
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) >= 2 && fields[0] == "nameserver" {
			out = append(out, Resolver{Addr: net.JoinHostPort(fields[1], "53")})
		}
	}
	return out
}
