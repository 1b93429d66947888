package dns

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

// forward asks the host's resolvers in order, from the host's own namespace, and passes the first answer on.
func (s *Server) forward(w dns.ResponseWriter, q *dns.Msg) {
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	for _, server := range s.upstream() {
		if m := exchange(q, server, tcp); m != nil {
			m.Truncate(sizeLimit(w, q))
			w.WriteMsg(m)
			return
		}
	}
	reply(w, q, dns.RcodeServerFailure)
}

func exchange(q *dns.Msg, server string, tcp bool) *dns.Msg {
	c := &dns.Client{Timeout: forwardTimeout}
	if tcp {
		c.Net = "tcp"
	}
	m, _, err := c.Exchange(q, server)
	if err != nil || m.Rcode == dns.RcodeServerFailure || m.Rcode == dns.RcodeRefused {
		return nil
	}
	return m
}

// HostResolvers reads the nameserver lines of a resolv.conf. Loopback resolvers count too: questions are asked from
// the host's namespace, not from the container's.
func HostResolvers(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var servers []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) >= 2 && fields[0] == "nameserver" {
			servers = append(servers, net.JoinHostPort(fields[1], "53"))
		}
	}
	return servers
}
