package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// protoText prints a message the same way every time: prototext itself varies its blanks on purpose.
func protoText(t *testing.T, m proto.Message) string {
	t.Helper()
	b, err := prototext.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if k, v, ok := strings.Cut(l, ":"); ok {
			lines[i] = k + ": " + strings.TrimSpace(v)
		} else {
			lines[i] = strings.ReplaceAll(l, "  {", " {")
		}
	}
	return strings.Join(lines, "\n")
}

func text(stderr bool, s string) *api.StreamOutput {
	if stderr {
		return &api.StreamOutput{Kind: &api.StreamOutput_Stderr{Stderr: []byte(s)}}
	}
	return &api.StreamOutput{Kind: &api.StreamOutput_Stdout{Stdout: []byte(s)}}
}

func TestRun(t *testing.T) {
	f := newFake(t)
	c := &f.containers
	c.missing, c.started = true, make(chan struct{})
	c.output = []*api.StreamOutput{text(false, "out\n"), text(true, "err\n")}
	c.exit = &api.StreamExit{Code: 7}
	cid := filepath.Join(t.TempDir(), "cid")
	r := f.run(t, "", "run", "--rm", "--name", "x", "--cidfile", cid, "-p", "127.0.0.1:8080-8081:80-81/udp", "-v", "data:/d:ro", "-m", "64m",
		"--security-opt", "no-new-privileges", "--expose", "90-91", "--domainname", "example.com", "--annotation", "a=b", "--cgroup-parent", "team", "--cgroup-conf", "misc.max=1",
		"--cpu-rt-period", "9000", "--entrypoint", "", "busybox", "sh", "-c", "exit 7")
	if r.code != 7 || r.out != "out\n" {
		t.Errorf("%+v", r)
	}
	if want := "Unable to find image 'busybox' locally\nUsing default tag: latest\nlatest: Pulling from busybox\naaa: Downloading\naaa: Pull complete\nDigest: sha256:dd\nerr\n"; r.err != want {
		t.Errorf("stderr %q", r.err)
	}
	if diff := cmp.Diff([]string{"create", "create", "attach cccccccccccc", "start cccccccccccc"}, c.calls); diff != "" {
		t.Errorf("attached before the start? %s", diff)
	}
	if b, _ := os.ReadFile(cid); string(b) != strings.Repeat("c", 64) {
		t.Errorf("cidfile %q", b)
	}
	golden(t, "run_request", protoText(t, c.created))
}

func TestRunDetached(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "run", "-d", "x"); r.out != strings.Repeat("c", 64)+"\n" || r.code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRunStdin(t *testing.T) {
	f := newFake(t)
	f.containers.echo = true
	for _, args := range []string{"run -i x cat", "run -i -a stdout x cat", "run -ia stdout -a stdin x cat"} {
		if r := f.run(t, "typed\n", strings.Fields(args)...); r.out != "typed\n" || r.code != 0 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func TestRunStartErrors(t *testing.T) {
	for msg, code := range map[string]int{
		"exec: command not found: nope":     127,
		"cannot execute /etc: is a dir":     126,
		"port 80/tcp on the host is in use": 125,
	} {
		f := newFake(t)
		f.containers.startErr = startFailed(t, msg, code)
		r := f.run(t, "", "run", "--rm", "x")
		if r.code != code || r.err != "shoal: "+msg+"\n" {
			t.Errorf("%+v, want code %d", r, code)
		}
		if last := f.containers.calls[len(f.containers.calls)-1]; last != "remove cccccccccccc" {
			t.Errorf("--rm left a container that never started: %v", f.containers.calls)
		}
	}
}

// startFailed is how the engine's server says that a command could not be started.
func startFailed(t *testing.T, msg string, code int) error {
	t.Helper()
	s, err := status.New(codes.FailedPrecondition, msg).WithDetails(&errdetails.ErrorInfo{
		Reason: "START_FAILED", Domain: "shoal", Metadata: map[string]string{"exit_code": strconv.Itoa(code)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestExec(t *testing.T) {
	f := newFake(t)
	f.containers.output = []*api.StreamOutput{text(false, "a"), text(true, "b")}
	f.containers.exit = &api.StreamExit{Code: 3}
	r := f.run(t, "", "exec", "-e", "A=1", "-w", "/tmp", "-u", "1:1", "web", "ls", "-l")
	if r.out != "a" || r.err != "b" || r.code != 3 {
		t.Errorf("%+v", r)
	}
	e := f.containers.exec
	if diff := cmp.Diff([]string{"ls", "-l"}, e.Command); diff != "" || e.Workdir != "/tmp" || e.User != "1:1" || e.Env[0] != "A=1" {
		t.Errorf("asked for %v", e)
	}
	if r := f.run(t, "", "exec", "web", "nothing"); r.code != 127 {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "", "exec", "-d", "web", "sleep"); r.code != 0 || r.out != "" {
		t.Errorf("detached: %+v", r)
	}
	if r := f.run(t, "", "exec", "-d", "web", "nothing"); r.code != 1 || r.err != "shoal: command not found: nothing\n" {
		t.Errorf("detached, and there is no such command: %+v", r)
	}
}

func TestDetachKeys(t *testing.T) {
	for _, tc := range []struct {
		keys  string
		typed []string
		want  string
		found bool
	}{
		{"", []string{"ab\x10\x11cd"}, "ab", true},
		{"", []string{"a\x10", "\x11"}, "a", true},
		{"", []string{"a\x10b"}, "a\x10b", false},
		{"", []string{"\x10", "\x10\x11"}, "\x10", true},
		{"ctrl-@,q", []string{"x\x00q"}, "x", true},
		{"a", []string{"xay"}, "x", true},
	} {
		keys, err := parseDetachKeys(tc.keys)
		if err != nil {
			t.Fatal(err)
		}
		k := &keyScanner{keys: keys}
		got, found := "", false
		for _, in := range tc.typed {
			out, f := k.scan([]byte(in))
			got, found = got+string(out), found || f
		}
		if got != tc.want || found != tc.found {
			t.Errorf("%q typed %q: got %q %v, want %q %v", tc.keys, tc.typed, got, found, tc.want, tc.found)
		}
	}
}
