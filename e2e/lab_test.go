//go:build linux

// Package e2e tests Shoal from outside: clusters of hosts in network namespaces, driven by the command line as a
// user would. It needs root and a built bin/shoal; `make e2e` has both.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/e2e/hosts/hoststest"
)

// lab makes n hosts with running daemons.
func lab(t *testing.T, n int) *hosts.Lab {
	t.Helper()
	if os.Getenv("SHOAL_E2E") == "" {
		t.Skip("SKIPPED: end-to-end tests need root and bin/shoal; run them with `make e2e`")
	}
	return hoststest.Lab(t, "../bin/shoal", n)
}

// cluster is a lab whose hosts are joined and have the image web:1.
func cluster(t *testing.T, n, managers int) *hosts.Lab {
	t.Helper()
	l := lab(t, n)
	if err := l.Join(t.Context(), managers); err != nil {
		t.Fatal(err)
	}
	if err := l.WebImage(t.Context(), web(t), "web:1"); err != nil {
		t.Fatal(err)
	}
	return l
}

// web is the demo's server, built once by make.
func web(t *testing.T) string {
	path, err := filepath.Abs("../bin/demo-web")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, h *hosts.Host, args ...string) string {
	t.Helper()
	return hoststest.Run(t, h, args...)
}

// fails runs a command that must be refused with one line that contains want.
func fails(t *testing.T, h *hosts.Host, want string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), busy)
	defer cancel()
	_, err := h.CLI(ctx, args...)
	if err == nil {
		t.Errorf("shoal %s: succeeded, want an error with %q", strings.Join(args, " "), want)
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("shoal %s:\n got %v\nwant %q in it", strings.Join(args, " "), err, want)
	}
	if strings.Contains(err.Error(), "rpc error") {
		t.Errorf("shoal %s: %v shows its transport", strings.Join(args, " "), err)
	}
}

// busy is how long a machine with much else to do may take for anything.
const busy = 2 * time.Minute

// eventually waits for ok and returns how long it took: on a busy machine perhaps longer than an idle one may take, which it tells.
func eventually(t *testing.T, what string, idle time.Duration, ok func() error) time.Duration {
	t.Helper()
	d, err := hosts.Until(t.Context(), max(idle, busy), ok)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if d > idle {
		t.Logf("%s took %v, more than %v: this machine is busy", what, d, idle)
	}
	return d
}

// replicas checks the REPLICAS column of a service.
func replicas(t *testing.T, h *hosts.Host, service, want string) func() error {
	return func() error {
		out, err := h.CLI(t.Context(), "service", "ls", "--filter", "name="+service, "--format", "{{.Replicas}}")
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(out); got != want {
			return fmt.Errorf("%s has %s replicas, want %s", service, got, want)
		}
		return nil
	}
}
