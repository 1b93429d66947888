package constraint

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"node.labels.disk==ssd", "node.labels.disk == ssd", ""},
		{" node.role != manager ", "node.role != manager", ""},
		{"node.labels.a == b==c", "node.labels.a == b==c", ""},
		{"node.labels.a != b==c", "node.labels.a != b==c", ""},
		{"engine.labels.zone==a", "engine.labels.zone == a", ""},
		{"node.labels.disk=ssd", "", `constraint "node.labels.disk=ssd": want KEY==VALUE or KEY!=VALUE`},
		{"node.disk==ssd", "", `unknown key "node.disk"`},
		{"node.labels.==ssd", "", `unknown key "node.labels."`},
		{"node.id==", "", "nothing to compare node.id with"},
		{"node.role==boss", "", "a role is manager or worker"},
	} {
		got, err := Parse([]string{tt.in})
		switch {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got error %v, want %q", tt.in, err, tt.err)
			}
		case err != nil || got[0].String() != tt.want:
			t.Errorf("%q: got %v %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestMatch(t *testing.T) {
	f := Facts{ID: "n1", Hostname: "alpha", Role: "worker", OS: "linux", Arch: "amd64",
		Labels: map[string]string{"disk": "SSD"}, EngineLabels: map[string]string{"zone": "a"}}
	for expr, want := range map[string]bool{
		"node.id==n1": true, "node.id!=n1": false,
		"node.hostname==Alpha": true, "node.role==manager": false, "node.role==WORKER": true,
		"node.platform.os==linux": true, "node.platform.arch==x86_64": true, "node.platform.arch!=arm64": true,
		"node.labels.disk==ssd": true, "node.labels.none!=x": true, "node.labels.none==x": false,
		"engine.labels.zone==a": true,
	} {
		cs, err := Parse([]string{expr})
		if err != nil {
			t.Fatal(err)
		}
		if _, unmet := Unmet(cs, f); unmet == want {
			t.Errorf("%s: got %v, want %v", expr, !unmet, want)
		}
	}
}
