//go:build linux

package enginetest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/shoal-dev/shoal/internal/registry"
)

// Registry runs Debian's registry on a loopback port of its choice and returns HOST:PORT.
func Registry(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	cmd, err := registry.Command(t.TempDir(), host)
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("SKIPPED: docker-registry is not installed (Debian: apt-get install docker-registry)")
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	Until(t, "docker-registry answers", func() bool {
		res, err := http.Get("http://" + host + "/v2/")
		if err != nil {
			return false
		}
		return res.Body.Close() == nil
	})
	return host
}

// Push makes an image of layers, given as tar archives, and pushes it.
func Push(t testing.TB, ref string, layers ...[]byte) {
	t.Helper()
	config, err := empty.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	var img v1.Image
	if img, err = mutate.ConfigFile(empty.Image, config); err != nil {
		t.Fatal(err)
	}
	for _, raw := range layers {
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	r, err := name.ParseReference(ref)
	if err == nil {
		err = remote.Write(r, img)
	}
	if err != nil {
		t.Fatal(err)
	}
}
