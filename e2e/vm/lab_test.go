//go:build linux

package vm

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// repo is the top of the repository, bin what is built in it; a package's tests run in its directory.
const (
	repo = "../.."
	bin  = repo + "/bin"
)

func needVM(t *testing.T) {
	t.Helper()
	if os.Getenv("SHOAL_VM") == "" {
		t.Skip("SKIPPED: virtual machines take minutes; run them with `make e2e-vm`")
	}
}

// build runs go build or go test -c.
func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

// newSystem is a root file system with the shim in it.
func newSystem(t *testing.T) (kernel, tree) {
	t.Helper()
	init := filepath.Join(t.TempDir(), "init")
	build(t, "build", "-ldflags", "-s -w", "-o", init, "./e2e/vm/init")
	k := kernel{dir: bin + "/vm/kernel"}
	root, err := system(k, init)
	if err != nil {
		t.Fatal(err)
	}
	return k, root
}

// pack writes the initramfs.
func pack(t *testing.T, root tree) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.cpio")
	if err := root.write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// start boots a machine that ends with the test.
func start(t *testing.T, cfg Config) *Machine {
	t.Helper()
	m, err := boot(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// boot may be called from any goroutine. When the test has failed, the machine's console is shown.
func boot(t *testing.T, cfg Config) (*Machine, error) {
	dir, err := os.MkdirTemp("", "shoal-vm-")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg.Dir = filepath.Join(dir, cfg.Name)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	m, err := Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if t.Failed() {
			text := m.Console()
			t.Logf("---- console of %s\n%s", cfg.Name, text[max(0, len(text)-8<<10):])
		}
		m.Close()
	})
	t.Logf("%s is up after %s, %d MB resident", cfg.Name, time.Since(began).Round(100*time.Millisecond), m.Memory()>>20)
	return m, nil
}

// freePort is a UDP port that nobody uses.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// output runs a script that must succeed.
func output(t *testing.T, m *Machine, format string, args ...any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := m.Output(ctx, fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
