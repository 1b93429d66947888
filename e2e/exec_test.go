//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// TestExecIsShort: a plain exec on the daemon's own machine is over before most of the program has been initialised, and
// nobody sees another difference.
func TestExecIsShort(t *testing.T) {
	h := lab(t, 1).Hosts[0]
	importBusybox(t, h)
	run(t, h, "run", "-d", "--name", "box", "box:1", "sleep", "1000")
	script := []string{"box", "sh", "-c", "read x; echo $x $A; echo to-stderr >&2; exit 7"}
	short := traced(t, h, append([]string{"exec", "-i", "-e", "A=b"}, script...)...)
	long := traced(t, h, append([]string{"exec", "-i", "--privileged=false", "-e", "A=b"}, script...)...)
	if short.out != "typed b\n" || short.err != "to-stderr\n" || short.code != 7 {
		t.Errorf("exec: %+v", short)
	}
	if short.out != long.out || short.err != long.err || short.code != long.code {
		t.Errorf("the short form gives %+v, the long %+v", short, long)
	}
	if !strings.Contains(long.trace, "init google.golang.org/grpc @") {
		t.Fatalf("the long form's trace shows no gRPC, so that nothing can be told from the other's: %s", long.trace)
	}
	if strings.Contains(short.trace, "init google.golang.org/grpc @") {
		t.Errorf("exec went the long way: %s", short.trace)
	}
	fails(t, h, `exec: "nothing": executable file not found`, "exec", "box", "nothing")
	fails(t, h, "no such container: nobody", "exec", "nobody", "true")
}

// TestExecPassesSignals: to a command that has written at once as to any other.
func TestExecPassesSignals(t *testing.T) {
	h := lab(t, 1).Hosts[0]
	importBusybox(t, h)
	run(t, h, "run", "-d", "--name", "box", "box:1", "sleep", "1000")
	cmd := h.Command(t.Context(), "exec", "box", "sh", "-c", "trap 'echo told; exit 3' TERM; echo begun; sleep 0.2; echo on; while :; do sleep 0.1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Inside(cmd.Start); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var got []string
	for lines.Scan() {
		if got = append(got, lines.Text()); lines.Text() == "on" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 || !slices.Equal(got, []string{"begun", "on", "told"}) {
		t.Errorf("ended with %d after %q", code, got)
	}
}

// ended is how a command line ended, and what Go's runtime told of its initialisation.
type ended struct {
	out, err, trace string
	code            int
}

func traced(t *testing.T, h *hosts.Host, args ...string) (e ended) {
	t.Helper()
	cmd := h.Command(t.Context(), args...)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("typed\n"), &out, &errOut
	err := h.Inside(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(errOut.String()) {
		if strings.HasPrefix(line, "init ") {
			e.trace += line
		} else {
			e.err += line
		}
	}
	e.out, e.code = out.String(), cmd.ProcessState.ExitCode()
	return e
}
