//go:build linux

package network

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// firewall is what a careful host has: everything is dropped that it does not know. The last two rules of forward are what
// docs/engine.md tells its owner to add. Names like ours are not ours.
const firewall = `
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif lo accept
		ct state established,related accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		%FORWARD%
	}
}
table ip shoal_local {
	chain forward {
		type filter hook forward priority filter; policy accept;
		tcp dport 9999 drop
	}
}
table inet shoal_local_not {
	set blocked {
		type ipv4_addr
		elements = { 203.0.113.1 }
	}
	chain publish {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 9998 redirect to :9997
	}
}
`

const forwardForUs = `iifname "shbr*" accept
		ct status dnat accept`

// nft runs nft in the namespace.
func (s *space) nft(stdin string, args ...string) string {
	s.t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		s.t.Fatal("nft is missing: `make deps` installs Debian's nftables")
	}
	var out []byte
	err := s.do(func() (err error) {
		cmd := exec.Command("nft", args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		s.t.Fatalf("nft %v: %v: %s", args, err, out)
	}
	return string(out)
}

// foreign is everything that is not ours, as nft writes it.
func (s *space) foreign() string {
	before, rest, found := strings.Cut(s.nft("", "-s", "list", "ruleset"), "table inet "+tableName+" {")
	if !found {
		return before
	}
	_, after, _ := strings.Cut(rest, "\n}\n")
	return before + after
}

func TestHostFirewall(t *testing.T) {
	l := newLab(t)
	l.outside.serve("outside", 80)
	l.host.nft(strings.Replace(firewall, "%FORWARD%", "", 1), "-f", "-")
	want := l.host.foreign()
	same := func(after string) {
		t.Helper()
		if got := l.host.foreign(); got != want {
			t.Errorf("after %s others' tables are %s, were %s", after, got, want)
		}
	}
	l.create(&api.LocalNetwork{Name: "mine"})
	one := l.run("one", []string{Bridge}, port(8080, 80))
	same("attaching")
	l.outside.wantNoAnswer("tcp", hostAddr4+":8080") // a firewall's drop is final, as it should be
	one.wantNoAnswer("tcp", outsideAddr4+":80")
	if got, err := l.m.dropping(); err != nil || len(got) != 1 || got[0] != "inet filter forward" {
		t.Errorf("who drops: %v, %v", got, err)
	}

	l.host.nft("flush ruleset\n"+strings.Replace(firewall, "%FORWARD%", forwardForUs, 1), "-f", "-")
	want = l.host.foreign()
	l.outside.wantNoAnswer("tcp", hostAddr4+":8080") // our rules were flushed with theirs
	all := func() (out []Attachment) {
		for _, a := range l.rows {
			out = append(out, a)
		}
		return out
	}
	if err := l.m.Reconcile(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	same("repairing")
	l.outside.wantAnswer("tcp", hostAddr4+":8080", "one")
	one.wantAnswer("tcp", outsideAddr4+":80", "outside")
	l.run("two", []string{"mine"}, port(8081, 80), &api.PortBinding{Protocol: "udp", HostPort: 8081, ContainerPort: 80})
	same("a second network")
	l.outside.wantAnswer("tcp", hostAddr4+":8081", "two")
	l.outside.wantAnswer("udp", hostAddr4+":8081", "two")
	l.m.Close()
	l.m = l.open(l.m.cfg.Dir)
	if err := l.m.Reconcile(context.Background(), all); err != nil {
		t.Fatal(err)
	}
	same("a restart")
	l.stop("one")
	l.stop("two")
	same("detaching")
	l.wantNothingLeft()
}
