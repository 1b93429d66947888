//go:build linux

package hosts

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/internal/busybox"
)

// Join makes a cluster of all hosts: the first initializes it, the others join, managers of them as managers.
func (l *Lab) Join(ctx context.Context, managers int) error {
	if _, err := l.Hosts[0].CLI(ctx, "cluster", "init", "--advertise-addr", l.Hosts[0].Addr.String()); err != nil {
		return err
	}
	for i, h := range l.Hosts[1:] {
		role := "worker"
		if i+1 < managers {
			role = "manager"
		}
		if err := l.JoinAs(ctx, h, role); err != nil {
			return err
		}
	}
	return nil
}

// JoinAs lets one host join through the first.
func (l *Lab) JoinAs(ctx context.Context, h *Host, role string) error {
	token, err := l.Hosts[0].CLI(ctx, "cluster", "token", role, "-q")
	if err != nil {
		return err
	}
	_, err = h.CLI(ctx, "cluster", "join", "--token", strings.TrimSpace(token), l.Hosts[0].Addr.String()+":2377")
	return err
}

// WebImage imports the demo's web server (a static binary) as name on every host.
func (l *Lab) WebImage(ctx context.Context, binary, name string) error {
	rootfs, err := Rootfs(binary, "web")
	if err != nil {
		return err
	}
	for _, h := range l.Hosts {
		if _, err := h.CLIWith(ctx, bytes.NewReader(rootfs), "image", "import", "--change", `ENTRYPOINT ["/web"]`, "--change", "EXPOSE 80", "-", name); err != nil {
			return err
		}
	}
	return nil
}

// Rootfs is a root file system as a tar: one static binary, as /name, and what a program may look for.
func Rootfs(binary, name string) ([]byte, error) {
	exe, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	now := time.Unix(0, 0)
	dirs := []string{"etc/", "tmp/"}
	for _, d := range dirs {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755, ModTime: now}); err != nil {
			return nil, err
		}
	}
	for _, f := range []struct {
		name string
		mode int64
		body []byte
	}{
		{name, 0o755, exe},
		{"etc/passwd", 0o644, []byte("root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n")},
		{"etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n")},
	} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.body)), ModTime: now}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}

// Busybox is a root file system with a shell as a tar: Debian's static busybox.
func Busybox() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, errors.New("busybox is missing: `make deps` installs Debian's busybox-static")
	}
	exe, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return busybox.Tar(exe)
}

// Until polls until ok returns nil, and says how long it took; after limit it returns ok's last error.
func Until(ctx context.Context, limit time.Duration, ok func() error) (time.Duration, error) {
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return time.Since(start), nil
		}
		if time.Since(start) > limit {
			return 0, fmt.Errorf("not within %s: %w", limit, err)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}
