//go:build linux

package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/internal/execwire"
	"github.com/shoal-dev/shoal/proto/api"
)

// lines is a log that several goroutines write to.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), word)
}

// TestPanicInARequest: the daemon answers and goes on, whichever kind of request it was, and so does what the request was about.
func TestPanicInARequest(t *testing.T) {
	dir, err := os.MkdirTemp("", "node")
	check(t, err)
	defer os.RemoveAll(dir)
	t.Setenv(enginetest.ShimEnv, enginetest.Shim(t))
	t.Cleanup(enginetest.Cleanup)
	var log lines
	var armed atomic.Pointer[string]
	cfg := Config{
		DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run"), Hostname: "host", CgroupParent: filepath.Base(dir),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		FaultPoint: func(point string) {
			if p := armed.Load(); p != nil && *p == point {
				armed.Store(nil)
				var none *api.Container
				none.Name = "x"
			}
		},
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	defer func() { end(); check(t, <-done) }()
	socket := filepath.Join(cfg.RunDir, "shoal.sock")
	d, err := client.New("unix://"+socket, client.Options{})
	check(t, err)
	defer d.Close()
	eventually(t, "the daemon answers", func() bool {
		if len(done) > 0 {
			t.Fatal(<-done)
		}
		_, err := d.Local.Info(ctx, &api.InfoRequest{})
		return err == nil
	})
	box(t, d)
	c, err := d.Containers.Create(ctx, &api.CreateContainerRequest{Name: "box", NetworkMode: "none", Spec: &api.ContainerSpec{Image: "box:1", Args: []string{"sleep", "1000"}}})
	check(t, err)
	_, err = d.Containers.Start(ctx, &api.StartContainerRequest{Ref: c.Id})
	check(t, err)
	defer d.Containers.Remove(context.Background(), &api.RemoveContainerRequest{Ref: c.Id, Force: true})
	open := &api.StreamInput{Kind: &api.StreamInput_Exec{Exec: &api.ExecOpen{Ref: "box", Command: []string{"sh", "-c", "echo x >> /ran"}}}}

	for i, r := range []struct {
		what, at string
		ask      func() error
	}{
		{"Rename", "amend.created", func() error {
			_, err := d.Containers.Rename(ctx, &api.RenameContainerRequest{Ref: "box", Name: "other"})
			return err
		}},
		{"Exec", "exec.started", func() error {
			s, err := d.Containers.Exec(ctx)
			check(t, err)
			check(t, s.Send(open))
			_, err = s.Recv()
			return err
		}},
		{"Exec", "exec.started", func() error { return askShort(t, socket, open) }},
	} {
		armed.Store(&r.at)
		err := r.ask()
		if want := "internal error in " + r.what + ": see the daemon's log"; err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%s: %v, want %q", r.what, err, want)
		}
		if e, ok := err.(*client.Error); ok && e.Code != codes.Internal {
			t.Errorf("%s: code %v", r.what, e.Code)
		}
		if got := log.count("a request ended in a panic"); got != i+1 {
			t.Errorf("%s: %d panics are logged, want %d", r.what, got, i+1)
		}
	}
	if log.count("level=ERROR") != 3 || log.count("node.TestPanicInARequest.func") < 3 {
		t.Errorf("the log has no stacks: %s", log.buf.String())
	}
	// Nothing is locked: all can be done again, and the container runs.
	_, err = d.Containers.Rename(ctx, &api.RenameContainerRequest{Ref: "box", Name: "third"})
	check(t, err)
	got, err := d.Containers.Inspect(ctx, &api.ContainerRequest{Ref: "third"})
	check(t, err)
	if got.Container.State != api.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %v", got.Container.State)
	}
	eventually(t, "what was started before the panics has run, once each", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/root/ran", got.Container.Pid))
		return string(b) == "x\nx\n"
	})
}

// box loads the image box:1.
func box(t *testing.T, d *client.Client) {
	t.Helper()
	s, err := d.Images.Import(t.Context())
	check(t, err)
	check(t, s.Send(&api.ImageUpload{Ref: "box:1"}))
	for archive := enginetest.Tar(t); len(archive) > 0; {
		n := min(len(archive), 1<<20)
		check(t, s.Send(&api.ImageUpload{Data: archive[:n]}))
		archive = archive[n:]
	}
	check(t, s.CloseSend())
	for err == nil {
		_, err = s.Recv()
	}
	if err != io.EOF {
		t.Fatal(err)
	}
}

// askShort asks in the short form. That the command may run is said before the failure: who is only refused asks again.
func askShort(t *testing.T, socket string, open *api.StreamInput) error {
	t.Helper()
	c, err := net.Dial("unix", socket)
	check(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	body, err := proto.Marshal(open)
	check(t, err)
	_, err = c.Write(execwire.Append([]byte(execwire.Preface), execwire.Message, body))
	check(t, err)
	ready := false
	for {
		kind, body, err := execwire.Read(c)
		check(t, err)
		var m api.StreamOutput
		switch {
		case kind == execwire.Refused && !ready:
			t.Fatalf("refused before it was said that the command may run: %s", body)
		case kind == execwire.Refused:
			return fmt.Errorf("%s", body)
		case kind == execwire.Message:
			check(t, proto.Unmarshal(body, &m))
			ready = ready || m.GetReady()
		}
	}
}
