package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/cmd/shoal/execfirst"
	"github.com/shoal-dev/shoal/proto/api"
)

// What execfirst takes it must understand as the program does.
func TestExecFirstUnderstandsTheSame(t *testing.T) {
	for _, line := range []string{
		"exec web ls", "container exec web ls", "exec web ls -l", "exec web sh -c a;b -- -x", "exec -i web cat", "exec --interactive web cat -",
		"exec -e A=b --env C= --env=D=e=f web env", "exec -u 1:2 -w /srv web pwd", "exec --user=a --workdir=/b web pwd", "exec -u  web id",
		"exec --user= web id", "exec -i -e A=b -u x web cat", "exec -w -x web pwd", "exec web -i",
	} {
		args := strings.Split(line, " ")
		f := newFake(t)
		f.containers.output = []*api.StreamOutput{{Kind: &api.StreamOutput_Exit{Exit: &api.StreamExit{}}}}
		r, ok := execfirst.Request(args, f.host)
		if !ok {
			t.Errorf("%s: execfirst leaves it", line)
			continue
		}
		if res := f.run(t, "", args...); res.code != 0 {
			t.Errorf("%s: %+v", line, res)
			continue
		}
		var got api.StreamInput
		if err := proto.Unmarshal(r.Message(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.containers.exec, got.GetExec(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: the program and execfirst differ:\n%s", line, diff)
		}
	}
}

// The use of execfirst is that it comes before what takes time. This program's own trace says when it does.
func TestExecFirstIsFirst(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	trace, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, trace)
	}
	var before []string
	for line := range strings.Lines(string(trace)) {
		name, found := strings.CutPrefix(line, "init ")
		if !found {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		if strings.HasSuffix(name, "cmd/shoal/execfirst") {
			if len(before) > 40 {
				t.Errorf("%d packages are initialised before execfirst: %v", len(before), before)
			}
			return
		}
		before = append(before, name)
		for _, heavy := range []string{"regexp", "google.golang.org/protobuf/proto", "google.golang.org/grpc", "net/http", "net", "reflect", "fmt"} {
			if name == heavy {
				t.Errorf("%s is initialised before execfirst: does one of its imports need it?", name)
			}
		}
	}
	t.Errorf("execfirst is not in the trace: %v", before)
}
