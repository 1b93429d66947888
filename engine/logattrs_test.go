//go:build linux

package engine

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// attrsOf are the attributes of each line of a container's log.
func (l *lab) attrsOf(ref string, details bool) (all []map[string]string) {
	l.t.Helper()
	err := l.Logs(l.ctx(), ref, &api.LogOptions{Tail: -1, Details: details}, func(line *api.LogLine) error {
		all = append(all, line.Attrs)
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

func TestLogAttributes(t *testing.T) {
	l := openLab(t)
	for name, tc := range map[string]struct {
		options map[string]string
		want    map[string]string
	}{
		"none":     {nil, nil},
		"labels":   {map[string]string{"labels": "tier,none,odd"}, map[string]string{"tier": "web", "odd": "\"\n\u00e9<"}},
		"patterns": {map[string]string{"labels-regex": "^t", "env-regex": "^DB_"}, map[string]string{"tier": "web", "DB_HOST": "a=b", "DB_PORT": "1"}},
		"env":      {map[string]string{"env": "DB_HOST,PATH"}, map[string]string{"DB_HOST": "a=b", "PATH": "/bin"}},
		"tag":      {map[string]string{"tag": "{{.Name}}/{{ .ImageName }}/{{.DaemonName}}"}, map[string]string{"tag": "one/box:1/shoal"}},
		"local":    {map[string]string{"labels": "tier"}, map[string]string{"tier": "web"}},
	} {
		r := request("one", "echo first; echo second >&2")
		r.Spec.Labels = map[string]string{"tier": "web", "odd": "\"\n\u00e9<"}
		r.Spec.Env = []string{"DB_HOST=a=b", "DB_PORT=1", "OTHER=x", "PATH=/bin"}
		r.Spec.Log = &api.LogConfig{Options: tc.options}
		if name == "local" {
			r.Spec.Log.Driver = name
		}
		l.run(r)
		l.ended("one")
		if got := l.logs("one"); !strings.Contains(got, "first\n") || !strings.Contains(got, "second\n") {
			t.Errorf("%s: %q", name, got)
		}
		for _, details := range []bool{true, false} {
			want := tc.want
			if !details {
				want = nil
			}
			for _, got := range l.attrsOf("one", details) {
				if diff := cmp.Diff(want, maps.Clone(got)); diff != "" {
					t.Errorf("%s, details %v: %s", name, details, diff)
				}
			}
		}
		l.must(l.Remove(l.ctx(), "one", true, false))
	}
	for option, want := range map[string]string{
		"labels-regex=(": "not a regular expression", "env-regex=": "a pattern is missing", "tag={{.Nope}}": "no field {{.Nope}}: use {{.Command}}", "tag={{": "only fields", "tag={{upper .Name}}": "only fields",
	} {
		r := request("", "true")
		key, value, _ := strings.Cut(option, "=")
		r.Spec.Log = &api.LogConfig{Options: map[string]string{key: value}}
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", option, err, want)
		}
	}
}
