//go:build linux

package network

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// Who goes on sending to a port that is published no more must not reach whoever has the address next.
func TestDatagramsDoNotFollowTheAddress(t *testing.T) {
	l := newLab(t)
	l.run("first", []string{Bridge}, &api.PortBinding{HostPort: 9000, ContainerPort: 80, Protocol: "udp"})
	address := l.address("first", 0)
	var senders []net.Conn
	for _, host := range []string{hostAddr4, hostAddr6} {
		var c net.Conn
		if err := l.outside.do(func() (err error) { c, err = net.Dial("udp", net.JoinHostPort(host, "9000")); return err }); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := say(c, 4*time.Second); got != "first" {
			t.Fatalf("%s: got %q", host, got)
		}
		senders = append(senders, c)
	}
	l.stop("first")
	l.run("second", []string{Bridge})
	if got := l.address("second", 0); got != address {
		t.Fatalf("the address %s was not given again, but %s", address, got)
	}
	for _, c := range senders {
		if got := say(c, 200*time.Millisecond); got != "" {
			t.Errorf("%s to the port of the first container is answered by %s", c.RemoteAddr(), got)
		}
	}
}

// say sends a datagram and returns the answer, "" if there is none.
func say(c net.Conn, patience time.Duration) string {
	buf := make([]byte, 100)
	c.Write([]byte("?"))
	c.SetReadDeadline(time.Now().Add(patience))
	n, _ := c.Read(buf)
	return strings.TrimSpace(string(buf[:n]))
}
