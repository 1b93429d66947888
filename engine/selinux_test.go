//go:build linux

package engine

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// Where nothing has labels, asking for one is refused, and asking for none is not.
func TestLabelsWithoutSELinux(t *testing.T) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Skip("SKIPPED: this machine has SELinux, which e2e/vm tests")
	}
	l := openLab(t)
	for want, change := range map[string]func(*api.ContainerSpec){
		"label=type:container_t": func(s *api.ContainerSpec) { s.LabelOptions = []string{"type:container_t"} },
		"label=nested":           func(s *api.ContainerSpec) { s.LabelOptions = []string{"disable", "nested"} },
		"option Z": func(s *api.ContainerSpec) {
			s.Mounts = []*api.Mount{{Type: api.Mount_BIND, Source: "/etc", Target: "/e", Relabel: "Z"}}
		},
		`relabel "y"`: func(s *api.ContainerSpec) {
			s.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Target: "/e", Relabel: "y"}}
		},
	} {
		r := request("", "true")
		change(r.Spec)
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	r := request("none", "sleep 1000")
	r.Spec.LabelOptions = []string{"disable"}
	if row := l.row(l.run(r)); row.ProcessLabel != "" || row.MountLabel != "" {
		t.Errorf("labels %q, %q", row.ProcessLabel, row.MountLabel)
	}
}
