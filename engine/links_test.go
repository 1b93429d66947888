//go:build linux

package engine

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// linking is a container on a network that links to others.
func linking(name, network string, links ...string) *api.CreateContainerRequest {
	r := on(name, &api.LocalNetworkAttachment{Network: network, Links: links})
	return r
}

// linkLine is the line of /etc/hosts with an alias.
func (l *lab) linkLine(ref, alias string) string {
	return l.exec(ref, "grep -m 1 '\t"+alias+" ' /etc/hosts; true")
}

// On the default bridge a link is a line of /etc/hosts, for whoever made it alone, and follows the other container.
func TestLinkOnTheDefaultBridge(t *testing.T) {
	l := openLab(t)
	r := on("db", at(NetworkBridge))
	r.Spec.Hostname = "dbhost"
	db := l.run(r)
	l.run(linking("web", NetworkBridge, "db:data"))
	l.run(on("other", at(NetworkBridge)))
	if got, want := l.linkLine("web", "data"), l.v4("db", NetworkBridge)+"\tdata dbhost db\n"; got != want {
		t.Errorf("/etc/hosts has %q, want %q", got, want)
	}
	l.exec("web", "ping -c 1 -W 30 data")
	if got := l.linkLine("other", "data"); got != "" {
		t.Errorf("a container without links knows %q", got)
	}
	if err := l.Stop(l.ctx(), db, new(time.Duration), ""); err != nil {
		t.Fatal(err)
	}
	if got := l.linkLine("web", "data"); got != "" {
		t.Errorf("while the other does not run: %q", got)
	}
	l.run(on("intruder", at(NetworkBridge))) // takes the address
	if err := l.Start(l.ctx(), db); err != nil {
		t.Fatal(err)
	}
	if got, want := l.linkLine("web", "data"), l.v4("db", NetworkBridge)+"\tdata dbhost db\n"; got != want {
		t.Errorf("after its restart %q, want %q", got, want)
	}
	if err := l.Rename(l.ctx(), db, "store"); err != nil {
		t.Fatal(err)
	}
	if got := l.linkLine("web", "data"); !strings.HasSuffix(got, "\tdata dbhost store\n") {
		t.Errorf("under its new name %q", got)
	}
	l.reopen()
	if err := l.Restart(l.ctx(), "web", new(time.Duration), ""); err != nil {
		t.Fatal(err)
	}
	if got := l.linkLine("web", "data"); !strings.HasSuffix(got, "\tdata dbhost store\n") {
		t.Errorf("after a restart of the daemon %q", got)
	}
}

// The variables are Docker's: its documentation calls them legacy, programs read them all the same.
func TestLinkVariables(t *testing.T) {
	l := openLab(t)
	r := on("db", at(NetworkBridge))
	r.Spec.Env, r.Spec.ExposedPorts = []string{"FOO=bar", "HOME=/x", "PATH=/bin"}, []string{"53/udp", "8001/tcp", "8000/tcp"}
	l.run(r)
	addr := l.v4("db", NetworkBridge)
	web := linking("web", NetworkBridge, "db:my-db")
	web.Spec.Env = []string{"MY_DB_PORT_53_UDP_PORT=mine"}
	l.run(web)
	want := strings.ReplaceAll(`MY_DB_ENV_FOO=bar
MY_DB_NAME=/web/my-db
MY_DB_PORT=udp://@:53
MY_DB_PORT_53_UDP=udp://@:53
MY_DB_PORT_53_UDP_ADDR=@
MY_DB_PORT_53_UDP_PORT=mine
MY_DB_PORT_53_UDP_PROTO=udp
MY_DB_PORT_8000_TCP=tcp://@:8000
MY_DB_PORT_8000_TCP_ADDR=@
MY_DB_PORT_8000_TCP_END=tcp://@:8001
MY_DB_PORT_8000_TCP_PORT=8000
MY_DB_PORT_8000_TCP_PORT_END=8001
MY_DB_PORT_8000_TCP_PORT_START=8000
MY_DB_PORT_8000_TCP_PROTO=tcp
MY_DB_PORT_8000_TCP_START=tcp://@:8000
MY_DB_PORT_8001_TCP=tcp://@:8001
MY_DB_PORT_8001_TCP_ADDR=@
MY_DB_PORT_8001_TCP_PORT=8001
MY_DB_PORT_8001_TCP_PROTO=tcp
`, "@", addr)
	if diff := cmp.Diff(want, l.exec("web", "env | grep MY_DB | sort")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// On a network with names a link is an alias that only its owner knows, of a container that need not be there yet.
func TestLinkOnANetwork(t *testing.T) {
	l := openLab(t)
	for _, n := range []string{"one", "two"} {
		l.network(&api.LocalNetwork{Name: n, Internal: true})
	}
	l.run(on("db", at("one")))
	l.run(linking("web", "one", "db:data", "later:soon"))
	if got, want := l.resolve("web", "data"), l.v4("db", "one"); got != want {
		t.Errorf("data is %q, want %q", got, want)
	}
	if got := l.resolve("web", "data.one"); got != l.v4("db", "one") {
		t.Errorf("data.one is %q", got)
	}
	for _, ask := range [][2]string{{"db", "data"}, {"web", "soon"}} {
		if got := l.resolve(ask[0], ask[1]); got != "" {
			t.Errorf("%s finds %s at %s", ask[0], ask[1], got)
		}
	}
	l.run(on("later", at("one"), at("two")))
	if got := l.resolve("web", "soon"); got != l.v4("later", "one") {
		t.Errorf("soon is %q", got)
	}
	if err := l.Connect(l.ctx(), "web", &api.LocalNetworkAttachment{Network: "two", Links: []string{"later:far"}}); err != nil {
		t.Fatal(err)
	}
	if got := l.resolve("web", "far"); got != l.v4("later", "two") {
		t.Errorf("far is %q", got)
	}
	// The link's name is the asker's own: it goes before a container of that name.
	l.run(on("data", at("one")))
	if got := l.resolve("web", "data"); got != l.v4("db", "one") {
		t.Errorf("beside a container named data it is %q", got)
	}
	if got := l.resolve("db", "data"); got != l.v4("data", "one") {
		t.Errorf("for others data is %q", got)
	}
}

func TestLinksRefused(t *testing.T) {
	l := openLab(t)
	l.network(&api.LocalNetwork{Name: "one", Internal: true})
	for link, want := range map[string]string{"nope:x": "no such container: nope", ":x": "not NAME or NAME:ALIAS", "a:b c": "not NAME or NAME:ALIAS", "a:b\n1.2.3.4 c": "not NAME or NAME:ALIAS"} {
		if _, err := l.Create(l.ctx(), CreateOptions{Request: linking("", NetworkBridge, link)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", link, err, want)
		}
	}
	l.run(on("away", at("one")))
	idle := l.create(on("idle", at(NetworkBridge)))
	for link, want := range map[string]string{"away": "not on the default bridge", "idle": "not running"} {
		id := l.create(linking("", NetworkBridge, link))
		if err := l.Start(l.ctx(), id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", link, err, want)
		}
	}
	orphan := l.create(linking("orphan", NetworkBridge, "idle"))
	if err := l.Remove(l.ctx(), idle, true, true); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(l.ctx(), orphan); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("a link to a container that was removed: %v", err)
	}
	if err := l.Connect(l.ctx(), "away", &api.LocalNetworkAttachment{Network: NetworkBridge, Links: []string{"orphan"}}); err == nil || !strings.Contains(err.Error(), "default bridge") {
		t.Errorf("a link on the default bridge afterwards: %v", err)
	}
}

// A host that starts again brings both up, in whichever order it begins.
func TestLinkedContainersComeBack(t *testing.T) {
	l := openLab(t)
	always := &api.LocalRestartPolicy{Name: "always"}
	db := on("db", at(NetworkBridge))
	db.Restart = always
	l.run(db)
	web := linking("web", NetworkBridge, "db:data")
	web.Restart = always
	l.run(web)
	for _, c := range []string{"web", "db"} { // not by the engine, which would take it for meant
		if err := syscall.Kill(int(l.row(c).Pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.Until(t, "both run and know each other", func() bool {
		for _, c := range []string{"db", "web"} {
			if row := l.row(c); row.State != api.ContainerState_CONTAINER_RUNNING || row.RestartCount == 0 {
				return false
			}
		}
		return strings.HasPrefix(l.linkLine("web", "data"), l.v4("db", NetworkBridge))
	})
}
