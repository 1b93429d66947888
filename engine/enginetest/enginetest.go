//go:build linux

// Package enginetest is what the tests of the engine's packages share: a shim, and a root file system with a shell.
//
// Everything is real. The tests need root, and busybox from Debian's busybox-static (deploy/deps.sh installs it); without
// root they are skipped, and say so.
package enginetest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shoal-dev/shoal/internal/busybox"
)

// NeedRoot skips a test that cannot make namespaces.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root to make namespaces, cgroups and mounts: run `make test` as root")
	}
}

// Busybox is the host's statically linked busybox.
func Busybox(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing: `make deps` installs Debian's busybox-static")
	}
	return path
}

var shim struct {
	once sync.Once
	path string
	err  error
}

// ShimEnv names a shim that is built already: a virtual machine has no Go.
const ShimEnv = "SHOAL_SHIM"

// Shim builds cmd/shoal-shim once and returns its path.
func Shim(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(ShimEnv); path != "" {
		return path
	}
	shim.once.Do(func() {
		dir, err := os.MkdirTemp("", "shoal-shim-")
		if err != nil {
			shim.err = err
			return
		}
		shim.path = filepath.Join(dir, "shoal-shim")
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", shim.path, "github.com/shoal-dev/shoal/cmd/shoal-shim")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			shim.err = fmt.Errorf("build the shim: %w: %s", err, out)
		}
	})
	if shim.err != nil {
		t.Fatal(shim.err)
	}
	return shim.path
}

// Cleanup removes what Shim built; a TestMain calls it.
func Cleanup() {
	if shim.path != "" {
		os.RemoveAll(filepath.Dir(shim.path))
	}
}

// Rootfs makes a directory with busybox, its commands, /etc/passwd and /etc/group. User bob is 1000:1000, also in group 2000.
func Rootfs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := untar(dir, Tar(t)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Tar is the same root file system as an archive, as `shoal image import` takes it.
func Tar(t testing.TB) []byte {
	t.Helper()
	exe, err := os.ReadFile(Busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := busybox.Tar(exe)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func untar(dir string, archive []byte) error {
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(path, 0o755)
			if err == nil {
				err = os.Chmod(path, h.FileInfo().Mode())
			}
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			var body []byte
			if body, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, body, os.FileMode(h.Mode))
			}
		}
		if err != nil {
			return err
		}
	}
}

// Cgroups lists the control groups at a path, which may be a pattern, of every hierarchy: those of version 1 are mounted
// one directory deeper than version 2 is where it is alone.
func Cgroups(path string) []string {
	old, _ := filepath.Glob("/sys/fs/cgroup/*/" + path)
	unified, _ := filepath.Glob("/sys/fs/cgroup/" + path)
	return append(old, unified...)
}

// Processes lists the processes whose command line names any of the words: shims name their directory.
func Processes(words ...string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		b, _ := os.ReadFile(p)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			found = append(found, filepath.Base(filepath.Dir(p))+" "+line)
		}
	}
	return found
}
