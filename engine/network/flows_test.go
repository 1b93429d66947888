//go:build linux

package network

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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
		if got := say(c, patient); got != "first" {
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

// The container may also have ended while there was no daemon.
func TestDatagramsAreForgottenAtStart(t *testing.T) {
	l := newLab(t)
	publish := &api.PortBinding{HostPort: 9000, ContainerPort: 80, Protocol: "udp"}
	l.run("first", []string{Bridge}, publish)
	l.run("stays", []string{Bridge}, &api.PortBinding{HostPort: 9001, ContainerPort: 80, Protocol: "udp"})
	var c, other net.Conn
	err := l.outside.do(func() (err error) {
		if c, err = net.Dial("udp", net.JoinHostPort(hostAddr4, "9000")); err == nil {
			other, err = net.Dial("udp", net.JoinHostPort(hostAddr4, "9001"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer other.Close()
	if a, b := say(c, patient), say(other, patient); a != "first" || b != "stays" {
		t.Fatalf("got %q and %q", a, b)
	}
	before := l.tracked(9001)
	dir := l.m.cfg.Dir
	l.m.Close()
	l.m = l.open(dir)
	delete(l.rows, "first")
	if err := l.m.Reconcile(t.Context(), func() []Attachment { return []Attachment{l.rows["stays"]} }); err != nil {
		t.Fatal(err)
	}
	if after := l.tracked(9001); before != 1 || after != 1 {
		t.Errorf("%d flows to the container that stays, %d after the start", before, after)
	}
	l.run("second", []string{Bridge})
	if got := say(c, 200*time.Millisecond); got != "" {
		t.Errorf("the port of the first container is answered by %s", got)
	}
}

// tracked counts the flows to a port of the host.
func (l *lab) tracked(port uint16) (n int) {
	l.t.Helper()
	flows, err := l.m.nl.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range flows {
		if f.Forward.DstPort == port {
			n++
		}
	}
	return n
}

// say sends a datagram and returns the answer, "" if there is none. UDP promises nothing, so it asks again now and then.
func say(c net.Conn, patience time.Duration) string {
	buf := make([]byte, 100)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c.Write([]byte("?"))
		c.SetReadDeadline(time.Now().Add(min(time.Second, patience)))
		if n, _ := c.Read(buf); n > 0 {
			return strings.TrimSpace(string(buf[:n]))
		}
	}
	return ""
}

// What connection tracking takes for no part of its connection would reach the client from the container's own address. It would
// answer with a reset and end a connection that is well.
func TestStrayPacketsDoNotReachClients(t *testing.T) {
	l := newLab(t)
	a := l.run("a", []string{Bridge}, port(8080, 80))
	c, heard, stray := net.Conn(nil), (*net.IPConn)(nil), (*net.IPConn)(nil)
	err := l.host.do(func() (err error) {
		if heard, err = net.ListenIP("ip4:tcp", &net.IPAddr{}); err == nil {
			c, err = net.Dial("tcp", hostAddr4+":8080")
		}
		return err
	})
	if err == nil {
		err = a.do(func() (err error) { stray, err = net.ListenIP("ip4:tcp", &net.IPAddr{}); return err })
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer heard.Close()
	defer stray.Close()
	client := c.LocalAddr().(*net.TCPAddr)
	packet := make([]byte, 20) // an acknowledgement out of nowhere; its checksum is wrong as well
	binary.BigEndian.PutUint16(packet, 80)
	binary.BigEndian.PutUint16(packet[2:], uint16(client.Port))
	packet[12], packet[13] = 5<<4, 0x10
	for range 3 {
		if _, err := stray.WriteToIP(packet, &net.IPAddr{IP: client.IP}); err != nil {
			t.Fatal(err)
		}
	}
	heard.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	buf := make([]byte, 2000)
	for {
		_, from, err := heard.ReadFromIP(buf)
		if err != nil {
			return
		}
		if from.IP.String() == l.address("a", 0) {
			t.Fatalf("the client hears from %s", from)
		}
	}
}
