//go:build linux

package engine

import (
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestReadOnlyEtc: where the root is read-only, so are the files that the engine mounts in it, with users of its own too; the engine
// itself writes them all the same when the container's networks change.
func TestReadOnlyEtc(t *testing.T) {
	l := openLab(t)
	l.network(&api.LocalNetwork{Name: "one"})
	l.network(&api.LocalNetwork{Name: "two"})
	for _, users := range []string{"", "auto"} {
		r := on("ro"+users, at("one"))
		r.Spec.ReadOnly, r.Spec.UsernsMode = true, users
		l.run(r)
		for _, file := range []string{"hosts", "hostname", "resolv.conf"} {
			if got := l.exec("ro"+users, "echo x 2>/dev/null >>/etc/"+file+" || echo refused"); got != "refused\n" {
				t.Errorf("users %q: /etc/%s of a read-only root was written: %q", users, file, got)
			}
		}
		before := l.exec("ro"+users, "grep -c . /etc/hosts")
		l.must(l.Connect(l.ctx(), "ro"+users, at("two")))
		if after := l.exec("ro"+users, "grep -c . /etc/hosts"); after == before {
			t.Errorf("users %q: /etc/hosts does not follow the networks: %s lines", users, after)
		}
	}
}
