//go:build linux

package image

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestChangesExpand: variables are those before the line, and quotes mean what they mean to a shell.
func TestChangesExpand(t *testing.T) {
	c := RunConfig{}
	c.Env, c.Cmd = []string{"PATH=/bin", "A=1"}, []string{"old"}
	err := ApplyChanges(&c, []string{
		`ENV PATH=/x:$PATH A=${A}2 B=$A`, `ENV Q='$A' R="$A b" S=\$A T=$NONE- U=${NONE:-d$A} V=${A:+set} W=a$`, `ENV OLD v $A`,
		`WORKDIR /w/$A`, `USER u$A`, `EXPOSE ${A}0/tcp`, `VOLUME /v$A`, `LABEL l="$A"`, `ENTRYPOINT ["/e"]`, `STOPSIGNAL RTMIN+1`,
	})
	want := []string{"PATH=/x:/bin", "A=12", "B=1", "Q=$A", "R=12 b", "S=$A", "T=-", "U=d12", "V=set", "W=a$", "OLD=v 12"}
	if diff := cmp.Diff(want, c.Env); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, ok := c.ExposedPorts["120/tcp"]; c.WorkingDir != "/w/12" || c.User != "u12" || !ok || c.Labels["l"] != "12" {
		t.Errorf("%+v", c)
	}
	if _, ok := c.Volumes["/v12"]; !ok || c.Cmd != nil {
		t.Errorf("a new entrypoint keeps the arguments of the old one: %+v", c)
	}
	for _, line := range []string{"ENV A=${", "ENV A=${A/x}", "WORKDIR ${}", "STOPSIGNAL NOPE"} {
		if err := ApplyChanges(&c, []string{line}); err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%s: %v", line, err)
		}
	}
	if err := ApplyChanges(&c, []string{`CMD ["c"]`, `ENTRYPOINT ["/f"]`}); err != nil || len(c.Cmd) != 1 {
		t.Errorf("%v, %+v", err, c.Cmd)
	}
}
