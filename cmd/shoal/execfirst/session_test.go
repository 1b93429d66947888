//go:build linux

package execfirst

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/execwire"
	"github.com/shoal-dev/shoal/proto/api"
)

// frame is one that a daemon sends.
type frame struct {
	kind byte
	body []byte
}

func output(m *api.StreamOutput) frame {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return frame{execwire.Message, b}
}

var (
	hello  = frame{kind: execwire.Hello}
	ready  = output(&api.StreamOutput{Kind: &api.StreamOutput_Ready{Ready: true}})
	stdout = output(&api.StreamOutput{Kind: &api.StreamOutput_Stdout{Stdout: []byte("out\n")}})
	stderr = output(&api.StreamOutput{Kind: &api.StreamOutput_Stderr{Stderr: []byte("err\n")}})
)

func exited(code int32, why string) frame {
	return output(&api.StreamOutput{Kind: &api.StreamOutput_Exit{Exit: &api.StreamExit{Code: code, Error: why}}})
}

// pipe is a connection in memory, over which a daemon is always slow.
type pipe struct{ net.Conn }

func (pipe) patience(time.Duration) error { return nil }
func (pipe) quiet(time.Duration) bool     { return true }

// play runs a session with a daemon that takes the opening, answers with frames and hangs up.
func play(t *testing.T, frames ...frame) (out, errOut string, code int, done bool) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		opening(t, theirs)
		for _, f := range frames {
			theirs.Write(execwire.Append(nil, f.kind, f.body))
		}
	}()
	var o, e bytes.Buffer
	s := &session{open: Open{Socket: "/x", ref: "web", command: []string{"ls"}}, conn: pipe{ours}, in: strings.NewReader(""), out: &o, err: &e}
	code, done = s.run()
	return o.String(), e.String(), code, done
}

// opening reads what a client sends first.
func opening(t *testing.T, c io.Reader) {
	preface := make([]byte, len(execwire.Preface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != execwire.Preface {
		t.Errorf("preface %q, %v", preface, err)
	}
	if m := message(t, c); m.GetExec().GetRef() != "web" {
		t.Errorf("opened with %v", m)
	}
}

func message(t *testing.T, c io.Reader) *api.StreamInput {
	kind, body, err := execwire.Read(c)
	m := &api.StreamInput{}
	if err != nil || kind != execwire.Message || proto.Unmarshal(body, m) != nil {
		t.Errorf("frame of kind %d, %v", kind, err)
	}
	return m
}

func TestSession(t *testing.T) {
	lost := "shoal: lost the connection to the Shoal daemon at unix:///x: is it still running?\n"
	for name, c := range map[string]struct {
		frames   []frame
		out, err string
		code     int
		done     bool
	}{
		"ends":                    {[]frame{hello, ready, stdout, stderr, exited(0, "")}, "out\n", "err\n", 0, true},
		"ends with a code":        {[]frame{hello, ready, exited(255, "")}, "", "", 255, true},
		"ends with a reason":      {[]frame{hello, ready, exited(137, "killed")}, "", "shoal: killed\n", 137, true},
		"a reason alone":          {[]frame{hello, ready, exited(0, "lost")}, "", "shoal: lost\n", 125, true},
		"fails later":             {[]frame{hello, ready, {execwire.Refused, []byte("gone")}}, "", "shoal: gone\n", 1, true},
		"daemon dies":             {[]frame{hello, ready, stdout}, "out\n", lost, 1, true},
		"daemon dies while start": {[]frame{hello}, "", lost, 1, true},
		"no such container":       {[]frame{hello, {execwire.Refused, []byte("no such container")}}, "", "", 0, false},
		"no such command":         {[]frame{hello, exited(127, "not found")}, "", "", 0, false},
		"older daemon":            {[]frame{{0, []byte("\x04\x00")}}, "", "", 0, false},
		"hangs up":                {nil, "", "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			out, errOut, code, done := play(t, c.frames...)
			if out != c.out || errOut != c.err || code != c.code || done != c.done {
				t.Errorf("stdout %q, stderr %q, code %d, done %v, want %v", out, errOut, code, done, c)
			}
		})
	}
}

func TestSessionPassesOn(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer theirs.Close()
		opening(t, theirs)
		send := func(f frame) { theirs.Write(execwire.Append(nil, f.kind, f.body)) }
		send(hello)
		send(ready)
		if m := message(t, theirs); string(m.GetStdin()) != "typed" {
			t.Errorf("got %v, want what was typed", m)
		}
		if m := message(t, theirs); !m.GetStdinClose() {
			t.Errorf("got %v, want the end of standard input", m)
		}
		syscall.Kill(syscall.Getpid(), syscall.SIGTERM) // watched: the session is running
		if m := message(t, theirs); m.GetSignal() != "15" {
			t.Errorf("got %v, want the signal", m)
		}
		send(exited(3, ""))
	}()
	s := &session{open: Open{Socket: "/x", Stdin: true, ref: "web", command: []string{"cat"}}, conn: pipe{ours}, in: strings.NewReader("typed"), out: io.Discard, err: io.Discard}
	if code, done := s.run(); code != 3 || !done {
		t.Errorf("code %d, done %v", code, done)
	}
	<-ended
}

// A daemon that hangs is not asked again. What it finds later it does not do: nobody is there for its hello.
func TestDaemonThatHangs(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := dial(l.Addr().String(), 30*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	s := &session{open: Open{Socket: "/x", ref: "web", command: []string{"ls"}}, conn: conn, in: strings.NewReader(""), out: io.Discard, err: &said}
	if code, done := s.run(); !done || code != 1 || !strings.Contains(said.String(), "what listens at unix:///x does not answer") {
		t.Errorf("code %d, done %v, %q", code, done, said.String())
	}
	conn.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	opening(t, c)
	if _, err := c.Write(execwire.Append(nil, execwire.Hello, nil)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("hello to nobody: %v", err)
	}
}

// What is read once the daemon has spoken may take as long as it takes.
func TestPatience(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := dial(l.Addr().String(), time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.patience(0)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !conn.quiet(time.Millisecond) {
		t.Error("nothing was sent, and it is not quiet")
	}
	c.Write([]byte("x"))
	if conn.quiet(time.Minute) {
		t.Error("something was sent, and it is quiet")
	}
	conn.Read(make([]byte, 1))
	time.AfterFunc(50*time.Millisecond, func() { c.Close() })
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d, %v, want the end", n, err)
	}
}

// talking is a command that writes all the time.
type talking struct{ pipe }

func (talking) quiet(time.Duration) bool { return false }

func TestSignalsOfWhatTakesTime(t *testing.T) {
	soon, longAgo := time.Now().Add(time.Hour), time.Now().Add(-shortest)
	for name, c := range map[string]struct {
		session *session
		want    bool
	}{
		"not started":           {&session{conn: pipe{}}, false},
		"just started, talking": {&session{conn: talking{}, started: soon}, false},
		"just started, silent":  {&session{conn: pipe{}, started: soon}, true},
		"waits for input":       {&session{conn: talking{}, started: soon, open: Open{Stdin: true}}, true},
		"has talked for long":   {&session{conn: talking{}, started: longAgo}, true},
	} {
		s := c.session
		s.watch()
		if got := s.unwatch != nil; got != c.want {
			t.Errorf("%s: signals are watched: %v, want %v", name, got, c.want)
		}
		if s.unwatch != nil {
			s.unwatch()
		}
	}
}

func TestNextTakesNothingMalformed(t *testing.T) {
	for _, b := range []string{"", "\x80", "\x08", "\x0a\x05abc", "\x0d1234", strings.Repeat("\xff", 11)} {
		if _, _, _, _, ok := next([]byte(b)); ok {
			t.Errorf("%q was taken", b)
		}
	}
}
