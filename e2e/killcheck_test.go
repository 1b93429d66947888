//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/internal/registry"
)

// stored lists what a host's engine keeps on disk.
func stored(t *testing.T, h *hosts.Host) (lines []string) {
	t.Helper()
	for _, dir := range []string{"data/content/blobs/sha256", "data/content/ingest", "data/snapshots/s", "data/snapshots/tmp", "data/volumes", "data/networks",
		"run/shims", "run/userns"} {
		entries, err := os.ReadDir(filepath.Join(h.Dir, dir))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			lines = append(lines, dir+"/"+e.Name())
		}
	}
	for _, pattern := range []string{"data/containers/*/*.tmp", "data/containers/*/unfinished.json", "data/volumes/*/*.tmp", "data/volumes/*/filling"} {
		left, _ := filepath.Glob(filepath.Join(h.Dir, pattern))
		lines = append(lines, left...)
	}
	return lines
}

// checkImages compares every blob with its name, and what is there with what images need.
func checkImages(t *testing.T, h *hosts.Host) {
	t.Helper()
	wanted := map[string]bool{}
	for _, id := range strings.Fields(run(t, h, "images", "-aq", "--no-trunc")) {
		archive := run(t, h, "save", id) // reads all that belongs to it
		if len(archive) < 1<<20 {
			t.Errorf("image %s is an archive of %d bytes", id, len(archive))
		}
		wanted[strings.TrimPrefix(id, "sha256:")] = true
		var index v1.IndexManifest
		if err := json.Unmarshal(fileIn(t, archive, "index.json"), &index); err != nil {
			t.Fatal(err)
		}
		for _, d := range index.Manifests {
			var m v1.Manifest
			if err := json.Unmarshal(fileIn(t, archive, "blobs/sha256/"+d.Digest.Hex), &m); err != nil {
				t.Fatal(err)
			}
			wanted[d.Digest.Hex] = true
			for _, l := range m.Layers {
				wanted[l.Digest.Hex] = true
			}
		}
	}
	blobs, err := filepath.Glob(filepath.Join(h.Dir, "data/content/blobs/sha256/*"))
	if err != nil || len(blobs) != len(wanted) {
		t.Errorf("%d blobs, images have %d: %v", len(blobs), len(wanted), err)
	}
	for _, path := range blobs {
		content, err := os.ReadFile(path)
		sum := fmt.Sprintf("%x", sha256.Sum256(content))
		if err != nil || sum != filepath.Base(path) || !wanted[sum] {
			t.Errorf("blob %s is %s; wanted %v, %v", filepath.Base(path), sum, wanted[sum], err)
		}
	}
	t.Logf("%d blobs are whole", len(blobs))
}

func fileIn(t *testing.T, archive, want string) []byte {
	t.Helper()
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("look for %s in an image: %v", want, err)
		}
		if h.Name == want {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
}

// registryOn runs Debian's registry on a host's loopback, with the image pulled:1 of four layers, and returns HOST:PORT.
func registryOn(t *testing.T, h *hosts.Host) string {
	t.Helper()
	const address = "127.0.0.1:5000"
	cmd, err := registry.Command(t.TempDir(), address)
	if err != nil {
		t.Fatalf("`make deps` installs Debian's docker-registry: %v", err)
	}
	if err := h.Inside(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "the registry answers", 15*time.Second, func() error {
		_, err := h.Get(t.Context(), "http://"+address+"/v2/", time.Second)
		return err
	})
	base, err := hosts.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	img := layered(t, base, 3)
	ref, err := name.ParseReference(address + "/pulled:1")
	if err == nil {
		err = remote.Write(ref, img, remote.WithTransport(&http.Transport{DialContext: h.Dial}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// layered is an image of base and n layers more, each with a directory of its own.
func layered(t *testing.T, base []byte, n int) v1.Image {
	t.Helper()
	config, err := empty.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	img, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	layers := [][]byte{base}
	for i := range n {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("layer-%d/f", i), Size: 2, Mode: 0o644})
		io.WriteString(w, "x\n")
		noise := make([]byte, 300<<10)
		rand.NewChaCha8([32]byte{byte(i)}).Read(noise)
		w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("layer-%d/noise", i), Size: int64(len(noise)), Mode: 0o644})
		w.Write(noise)
		w.Close()
		layers = append(layers, b.Bytes())
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
	return img
}
