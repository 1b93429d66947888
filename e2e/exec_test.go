//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
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
