package cdi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const zero = `{"cdiVersion": "0.6.0", "kind": "acme.com/null", "devices": [{"name": "zero", "containerEdits": {
  "deviceNodes": [{"path": "/dev/zilch", "hostPath": "/dev/zero", "permissions": "r"}], "env": ["ZERO=yes"]}},
  {"name": "silent", "containerEdits": {"deviceNodes": [{"path": "/dev/null", "permissions": "none"}]}},
  {"name": "gone", "containerEdits": {"deviceNodes": [{"path": "/dev/no-such-device"}]}}],
 "containerEdits": {"env": ["ACME=here"]}}`

const yamlSpec = `
cdiVersion: "0.7.0"
kind: acme.com/more
devices:
- name: all
  containerEdits:
    mounts:
    - {hostPath: /etc/hostname, containerPath: /etc/acme, options: [ro, bind]}
    hooks:
    - {hookName: createContainer, path: /bin/true, args: [true, x], timeout: 5}
    additionalGids: [44, 0]
`

// dirs makes directories with files: "1/a.json".
func dirs(t *testing.T, files map[string]string) *Specs {
	t.Helper()
	top := t.TempDir()
	for name, text := range files {
		path := filepath.Join(top, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New([]string{top + "/1", top + "/2", ""})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func config() *specs.Spec {
	return &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}, Namespaces: []specs.LinuxNamespace{{Type: specs.UserNamespace}}}}
}

func TestInject(t *testing.T) {
	s := dirs(t, map[string]string{"1/a.json": zero, "2/b.yaml": yamlSpec})
	c := config()
	if err := s.Inject(c, []string{"acme.com/null=zero", "acme.com/null=silent", "acme.com/more=all"}); err != nil {
		t.Fatal(err)
	}
	timeout, major, minor := 5, int64(1), int64(5)
	want := config()
	want.Process.Env = []string{"ACME=here", "ZERO=yes"}
	want.Process.User.AdditionalGids = []uint32{44}
	want.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/zilch", Type: "c", Major: 1, Minor: 5}, {Path: "/dev/null", Type: "c", Major: 1, Minor: 3}}
	want.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "r"}}
	want.Mounts = []specs.Mount{{Destination: "/etc/acme", Source: "/etc/hostname", Options: []string{"ro", "bind"}}}
	want.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/true", Args: []string{"true", "x"}, Env: nil, Timeout: &timeout}}}
	for i := range c.Linux.Devices {
		c.Linux.Devices[i].FileMode = nil // the host's
	}
	c.Hooks.CreateContainer[0].Env = nil
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	names, problems := s.Devices()
	if got := strings.Join(names, " "); got != "acme.com/more=all acme.com/null=gone acme.com/null=silent acme.com/null=zero" || len(problems) > 0 {
		t.Errorf("devices %s, problems %q", got, problems)
	}
}

func TestRefusals(t *testing.T) {
	broken := "cdiVersion: \"0.6.0\"\nkind: acme.com/x\ndevices:\n- name: a\n  containerEdit: {}\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"acme.com/null=two", map[string]string{"1/a.json": zero}, "no specification in "},
		{"acme.com/null=gone", map[string]string{"1/a.json": zero}, "/dev/no-such-device"},
		{"acme.com/null=zero", map[string]string{"1/a.json": zero, "1/b.json": zero}, "described twice"},
		{"acme.com/x=a", map[string]string{"1/a.yaml": broken}, "/1/a.yaml is broken: "},
		{"acme.com/null=zero", nil, "no specification in "},
	} {
		err := dirs(t, c.files).Inject(config(), []string{c.name})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want one line with %q", c.name, err, c.want)
		}
	}
	// A later directory outweighs an earlier one: no conflict.
	c := config()
	if err := dirs(t, map[string]string{"1/a.json": zero, "2/a.json": strings.ReplaceAll(zero, "ZERO=yes", "ZERO=later")}).Inject(c, []string{"acme.com/null=zero"}); err != nil {
		t.Error(err)
	} else if got := strings.Join(c.Process.Env, " "); got != "ACME=here ZERO=later" {
		t.Errorf("environment %q", got)
	}
	if off, _ := New([]string{""}); off.Inject(config(), []string{"acme.com/null=zero"}) == nil {
		t.Error("without directories there are devices")
	}
	if _, err := New([]string{"cdi"}); err == nil {
		t.Error("a relative directory is taken")
	}
	if err := Check([]string{"acme.com/null=zero", "/dev/null"}); err == nil {
		t.Error("a path is taken for a device's name")
	}
}
