//go:build linux

package execfirst

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestRequest(t *testing.T) {
	long := strings.Repeat("x", 300)
	for line, want := range map[string]*api.ExecOpen{
		"exec web ls":                            {Ref: "web", Command: []string{"ls"}},
		"container exec web ls -l --all":         {Ref: "web", Command: []string{"ls", "-l", "--all"}},
		"-H unix:///a.sock exec web ls":          {Ref: "web", Command: []string{"ls"}},
		"--host=unix:///a.sock exec web ls":      {Ref: "web", Command: []string{"ls"}},
		"exec -i web cat":                        {Ref: "web", Command: []string{"cat"}, Stdin: true},
		"exec --interactive web cat":             {Ref: "web", Command: []string{"cat"}, Stdin: true},
		"exec -e A=b --env C= --env=D=e=f w env": {Ref: "w", Command: []string{"env"}, Env: []string{"A=b", "C=", "D=e=f"}},
		"exec -u 1:2 -w /srv web pwd":            {Ref: "web", Command: []string{"pwd"}, User: "1:2", Workdir: "/srv"},
		"exec --user=a --workdir=/b web pwd":     {Ref: "web", Command: []string{"pwd"}, User: "a", Workdir: "/b"},
		"exec web echo " + long:                  {Ref: "web", Command: []string{"echo", long}},
	} {
		r, ok := Request(strings.Split(line, " "), "unix:///b.sock")
		if !ok {
			t.Errorf("%s: left to the program", line)
			continue
		}
		if socket := map[bool]string{true: "/a.sock", false: "/b.sock"}[strings.Contains(line, "a.sock")]; r.Socket != socket {
			t.Errorf("%s: socket %s, want %s", line, r.Socket, socket)
		}
		var got api.StreamInput
		if err := proto.Unmarshal(r.Message(), &got); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if diff := cmp.Diff(want, got.GetExec(), protocmp.Transform()); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
		if r.Stdin != want.Stdin {
			t.Errorf("%s: stdin %v", line, r.Stdin)
		}
	}
}

func TestRequestLeaves(t *testing.T) {
	for _, line := range []string{
		"", "exec", "exec web", "exec --help", "container", "container ls", "ps", "run web ls", "exec -t web sh", "exec -it web sh", "exec -d web ls",
		"exec --privileged web ls", "exec --detach-keys a web sh", "exec --env-file f web ls", "exec -e HOME web env", "exec -e =x web env",
		"exec -eA=b web env", "exec -e=A=b web env", "exec -- web ls", "exec -u", "exec -u root", "exec -i=true web cat", "exec --interactive=false web cat",
		"-H 10.0.0.1:2377 exec web ls", "--tlskey k exec web ls", "--host", "-H unix://relative exec web ls", "__complete exec web",
	} {
		if _, ok := Request(strings.Fields(line), ""); ok {
			t.Errorf("%q was taken", line)
		}
	}
	for _, host := range []string{"tcp://h:1", "h:1", "unix://a", "ssh://h"} {
		if _, ok := Request([]string{"exec", "web", "ls"}, host); ok {
			t.Errorf("host %s was taken", host)
		}
	}
	if r, ok := Request([]string{"exec", "web", "ls"}, ""); !ok || r.Socket != defaultSocket {
		t.Errorf("without a host: %v, %v", r.Socket, ok)
	}
}
