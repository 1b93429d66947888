//go:build linux

package cdi

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzSpecification: a vendor's file that is damaged is a problem with a reason, and edits no container.
func FuzzSpecification(f *testing.F) {
	f.Add([]byte(`{"cdiVersion":"0.6.0","kind":"acme.org/gpu","devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/null"}],"env":["A=b"]}}]}`), "acme.org/gpu=0")
	f.Add([]byte(`{"cdiVersion":"0.6.0","kind":"acme.org/gpu","devices":[{"name":"0","containerEdits":{"mounts":[null],"hooks":[null],"deviceNodes":[null]}}]}`), "acme.org/gpu=0")
	f.Add([]byte(`{"cdiVersion":"9","kind":"../x","devices":null}`), "../x=y")
	f.Add([]byte("a: &a [*a]"), "a/b=c")
	f.Fuzz(func(t *testing.T, file []byte, name string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.json"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		s.Devices()
		if Check([]string{name}) != nil {
			return
		}
		s.Inject(&specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}, []string{name})
	})
}
