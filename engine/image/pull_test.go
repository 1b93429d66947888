//go:build linux

package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	ggcr "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

// build makes an image of the given layers, in OCI's or Docker's types.
func build(t *testing.T, arch string, docker bool, layers ...map[string]string) ggcr.Image {
	t.Helper()
	layerType := types.OCILayer
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if docker {
		layerType, base = types.DockerLayer, empty.Image
	}
	config, err := base.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	img, err := mutate.ConfigFile(base, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range layers {
		raw := tarOf(t, files)
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, tarball.WithMediaType(layerType))
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// noise does not compress, so that a blob has the size of its content.
func noise(n int) string {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return string(b)
}

func push(t *testing.T, ref string, what any) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	switch x := what.(type) {
	case ggcr.Image:
		err = remote.Write(r, x)
	case ggcr.ImageIndex:
		err = remote.WriteIndex(r, x)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// faulty is a registry in this process that can be told to misbehave.
type faulty struct {
	http.Handler
	host string

	mu       sync.Mutex
	requests []string // blob downloads: path and Range
	served   int64
	// misbehave, if set, sees every download first; true means that it has answered.
	misbehave func(w http.ResponseWriter, r *http.Request, n int) bool
	corrupt   func(path string, body []byte) []byte
	noRanges  bool
}

func newFaulty(t *testing.T) *faulty {
	f := &faulty{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.host = strings.TrimPrefix(s.URL, "http://")
	return f
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/sha256:") {
		f.Handler.ServeHTTP(w, r)
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, r.URL.Path+" "+r.Header.Get("Range"))
	n := len(f.requests)
	misbehave, corrupt := f.misbehave, f.corrupt
	f.mu.Unlock()
	if misbehave != nil && misbehave(w, r, n) {
		return
	}
	body, ok := f.blob(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if corrupt != nil {
		body = corrupt(r.URL.Path, body)
	}
	c := &counting{ResponseWriter: w, f: f}
	if f.noRanges {
		c.Write(body)
		return
	}
	http.ServeContent(c, r, "", time.Time{}, bytes.NewReader(body))
}

func (f *faulty) blob(r *http.Request) ([]byte, bool) {
	whole := r.Clone(r.Context())
	whole.Header.Del("Range")
	rec := httptest.NewRecorder()
	f.Handler.ServeHTTP(rec, whole)
	return rec.Body.Bytes(), rec.Code == http.StatusOK
}

type counting struct {
	http.ResponseWriter
	f *faulty
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.f.mu.Lock()
	c.f.served += int64(n)
	c.f.mu.Unlock()
	return n, err
}

// quick makes retries quick, so that tests do not wait.
func quick(s *Store) *Store {
	s.Retry = Retry{Attempts: 4, First: time.Millisecond, Longest: 2 * time.Millisecond}
	return s
}

func TestPullFromDockerRegistry(t *testing.T) {
	host := enginetest.Registry(t)
	s := newStore(t)
	s.Platform = Platform{"linux", "arm64"}
	layers := []map[string]string{{"a": "1", "gone": "x"}, {"gone": "-", "b": "2"}}
	amd, arm := build(t, "amd64", false, map[string]string{"wrong": ""}), build(t, "arm64", false, layers...)
	push(t, host+"/multi:v1", mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: ggcr.Descriptor{Platform: &ggcr.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm, Descriptor: ggcr.Descriptor{Platform: &ggcr.Platform{OS: "linux", Architecture: "arm64"}}}))
	push(t, host+"/team/docker", build(t, "arm64", true, layers...))
	statuses := map[string]bool{}
	img, err := s.Pull(t.Context(), host+"/multi:v1", PullOptions{}, func(p *api.ImageProgress) { statuses[p.Status] = true })
	if err != nil {
		t.Fatal(err)
	}
	want, _ := arm.ConfigName()
	if img.Id != want.String() || img.Platform.Architecture != "arm64" || img.Tags[0] != host+"/multi:v1" || len(img.Digests) != 1 {
		t.Errorf("image: %v", img)
	}
	expectFiles(t, s, img, map[string]string{"a": "1", "b": "2"})
	for _, st := range []string{"Waiting", "Downloading", "Download complete", "Extracting", "Pull complete", "Complete"} {
		if !statuses[st] {
			t.Errorf("progress never said %q: %v", st, statuses)
		}
	}
	for _, ref := range []string{host + "/team/docker", host + "/team/docker:latest"} {
		if img, err = s.Pull(t.Context(), ref, PullOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	expectFiles(t, s, img, map[string]string{"a": "1", "b": "2"})
	byDigest, err := s.Pull(t.Context(), img.Digests[0], PullOptions{}, nil)
	if err != nil || byDigest.Id != img.Id {
		t.Errorf("by digest: %v, %v", byDigest, err)
	}
	other, err := s.Pull(t.Context(), host+"/multi:v1", PullOptions{Platform: &api.Platform{Architecture: "amd64"}}, nil)
	if err != nil || other.Platform.Architecture != "amd64" {
		t.Errorf("another platform: %v, %v", other, err)
	}
	for ref, text := range map[string]string{host + "/multi:v2": "no such image", host + "/nothing": "no such image"} {
		if _, err := s.Pull(t.Context(), ref, PullOptions{}, nil); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := s.Pull(t.Context(), host+"/multi:v1", PullOptions{Platform: &api.Platform{Architecture: "s390x"}}, nil); err == nil || !strings.Contains(err.Error(), "there is linux/amd64, linux/arm64") {
		t.Errorf("a platform that is missing: %v", err)
	}
	var saved bytes.Buffer
	if err := s.Save(t.Context(), []string{host + "/team/docker"}, &saved); err != nil {
		t.Fatal(err)
	}
	to := newStore(t)
	if images, err := to.Load(t.Context(), &saved, nil); err != nil || images[0].Id != img.Id {
		t.Errorf("loaded what was pulled and saved: %v, %v", images, err)
	}
}

func TestBrokenConnectionsAreResumed(t *testing.T) {
	f := newFaulty(t)
	const size = 3 << 20
	push(t, f.host+"/web", build(t, "amd64", false, map[string]string{"f": noise(size)}))
	s := quick(newStore(t))
	s.Platform.Architecture = "amd64"
	f.misbehave = func(w http.ResponseWriter, r *http.Request, n int) bool {
		body, _ := f.blob(r)
		if len(body) < size || n > 20 {
			return false
		}
		// 300 KiB from where it was asked to begin, then the line is cut: more often than an attempt without progress may fail.
		http.ServeContent(&cut{ResponseWriter: w, left: 300 << 10}, r, "", time.Time{}, bytes.NewReader(body))
		return true
	}
	img, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	expectFiles(t, s, img, map[string]string{"f": noise(size)})
	resumed := 0
	for _, r := range f.requests {
		if strings.Contains(r, "bytes=") {
			resumed++
		}
	}
	if resumed < 9 || f.served > 600<<10 {
		t.Errorf("%d requests continued an earlier one; the rest brought %d bytes", resumed, f.served)
	}
}

// cut aborts the connection after so many bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func TestResumeAfterRestartOfTheDaemon(t *testing.T) {
	for name, noRanges := range map[string]bool{"ranges": false, "no ranges": true} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			const size = 2 << 20
			push(t, f.host+"/web", build(t, "amd64", false, map[string]string{"f": noise(size)}))
			dir := t.TempDir()
			s := quick(storeIn(t, dir))
			s.Platform.Architecture = "amd64"
			ctx, cancel := context.WithCancel(t.Context())
			f.misbehave = func(w http.ResponseWriter, r *http.Request, n int) bool {
				body, _ := f.blob(r)
				if len(body) < size {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				w.Write(body[:size/2])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
			_, err := s.Pull(ctx, f.host+"/web", PullOptions{}, func(p *api.ImageProgress) {
				if p.Status == "Downloading" && p.Current >= size/2-step {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled pull: %v", err)
			}
			s.Close()
			f.mu.Lock()
			f.misbehave, f.requests, f.noRanges = nil, nil, noRanges
			f.mu.Unlock()
			s = storeIn(t, dir)
			s.Platform.Architecture = "amd64"
			if err := s.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			img, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			expectFiles(t, s, img, map[string]string{"f": noise(size)})
			if !strings.Contains(strings.Join(f.requests, "\n"), "bytes=") {
				t.Errorf("nothing was continued: %v", f.requests)
			}
		})
	}
}

// A layer that has come whole is not fetched twice either, nor unpacked: it is kept for a day.
func TestWholeLayersOfAPullAreKept(t *testing.T) {
	f := newFaulty(t)
	push(t, f.host+"/web", build(t, "amd64", false, map[string]string{"a": noise(1 << 20)}, map[string]string{"b": noise(2 << 20)}))
	dir := t.TempDir()
	s := quick(storeIn(t, dir))
	s.Platform.Architecture = "amd64"
	first := make(chan struct{})
	f.misbehave = func(w http.ResponseWriter, r *http.Request, n int) bool {
		body, _ := f.blob(r)
		if len(body) < 2<<20 {
			return false
		}
		<-first
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	report := func(p *api.ImageProgress) {
		if p.Status == "Pull complete" {
			close(first)
		}
	}
	if _, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, report); err == nil {
		t.Fatal("pulled what the registry keeps")
	}
	s.Close()
	f.mu.Lock()
	f.misbehave, f.requests = nil, nil
	f.mu.Unlock()
	s = storeIn(t, dir)
	s.Platform.Architecture = "amd64"
	if err := s.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	img, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.requests) != 1 {
		t.Errorf("fetched %d blobs, want the missing one: %v", len(f.requests), f.requests)
	}
	if _, err := s.Remove(t.Context(), img.Id, true); err != nil {
		t.Fatal(err)
	}
	expectEmpty(t, s)
}

func TestWrongContentIsRefused(t *testing.T) {
	f := newFaulty(t)
	push(t, f.host+"/web", build(t, "amd64", false, map[string]string{"f": noise(5000)}))
	s := quick(newStore(t))
	s.Platform.Architecture = "amd64"
	for name, tc := range map[string]struct {
		corrupt func(string, []byte) []byte
		want    string
	}{
		"changed": {func(_ string, b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b }, "digest mismatch"},
		"longer":  {func(_ string, b []byte) []byte { return append(bytes.Clone(b), "more"...) }, "more than"},
		"shorter": {func(_ string, b []byte) []byte { return b[:len(b)-1] }, "fetch"},
	} {
		f.corrupt = tc.corrupt
		_, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if images, _ := s.List(t.Context()); len(images) != 0 {
		t.Errorf("recorded: %v", images)
	}
	f.corrupt = nil
	if _, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, nil); err != nil {
		t.Errorf("the registry is well again: %v", err)
	}
}

func TestConcurrentPullsShareWork(t *testing.T) {
	f := newFaulty(t)
	shared := map[string]string{"f": noise(1 << 20)}
	push(t, f.host+"/a", build(t, "amd64", false, shared, map[string]string{"a": "1"}))
	push(t, f.host+"/b", build(t, "amd64", false, shared, map[string]string{"b": "1"}))
	s := newStore(t)
	s.Platform.Architecture = "amd64"
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if _, err := s.Pull(t.Context(), f.host+"/"+string("ab"[i%2]), PullOptions{}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(f.requests); n != 5 { // two configs, two top layers, the shared one
		t.Errorf("%d blobs were fetched, 5 are different: %v", n, f.requests)
	}
	infos, _ := s.Snapshots.List(t.Context())
	if len(infos) != 3 {
		t.Errorf("snapshots: %v", infos)
	}
	if done, err := s.Remove(t.Context(), f.host+"/a", false); err != nil || len(done.Untagged) != 2 || len(done.Deleted) != 2 {
		t.Errorf("removing one: %v, %v", done, err)
	}
	if img, err := s.Get(t.Context(), f.host+"/b"); err != nil {
		t.Error(err)
	} else {
		expectFiles(t, s, img, map[string]string{"f": noise(1 << 20), "b": "1"})
	}
	if _, err := s.Remove(t.Context(), f.host+"/b", false); err != nil {
		t.Error(err)
	}
	expectEmpty(t, s)
}

func TestOverloadedRegistryIsAskedAgain(t *testing.T) {
	f := newFaulty(t)
	push(t, f.host+"/web", build(t, "amd64", false, map[string]string{"f": "1"}))
	s := quick(newStore(t))
	s.Platform.Architecture = "amd64"
	f.misbehave = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n%3 != 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n%3 != 0
	}
	if _, err := s.Pull(t.Context(), f.host+"/web", PullOptions{}, nil); err != nil {
		t.Error(err)
	}
	f.misbehave = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	push(t, f.host+"/web2", build(t, "amd64", false, map[string]string{"f": "2"}))
	if _, err := s.Pull(t.Context(), f.host+"/web2", PullOptions{}, nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("always overloaded: %v", err)
	}
}

func TestLogin(t *testing.T) {
	inner := newFaulty(t)
	push(t, inner.host+"/web", build(t, "amd64", false, map[string]string{"f": "1"}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "joe" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer srv.Close()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	host := strings.TrimPrefix(srv.URL, "http://")
	s := newStore(t)
	s.Platform.Architecture = "amd64"
	if _, err := s.Pull(t.Context(), host+"/web", PullOptions{}, nil); err == nil || !strings.Contains(err.Error(), "denies access") {
		t.Errorf("without login: %v", err)
	}
	if _, err := s.Pull(t.Context(), host+"/web", PullOptions{Auth: &api.RegistryAuth{Username: "joe", Password: "wrong"}}, nil); err == nil {
		t.Error("a wrong password was accepted")
	}
	if _, err := s.Pull(t.Context(), host+"/web", PullOptions{Auth: &api.RegistryAuth{Username: "joe", Password: "secret"}}, nil); err != nil {
		t.Error(err)
	}
	text := fmt.Sprintf(`{"auths":{%q:{"auth":"am9lOnNlY3JldA=="}}}`, host)
	if err := errors.Join(os.Mkdir(filepath.Join(home, ".docker"), 0o700), os.WriteFile(filepath.Join(home, ".docker/config.json"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), host+"/web", PullOptions{}, nil); err != nil {
		t.Errorf("with Docker's config file: %v", err)
	}
}

func TestPlainHTTPIsRefused(t *testing.T) {
	for url, refused := range map[string][2]bool{ // by a registry here, elsewhere
		"http://10.0.0.1/v2/": {true, true}, "http://example.com/": {true, true}, "https://10.0.0.1/": {false, false},
		"http://127.0.0.1:5000/": {false, true}, "http://localhost:5000/": {false, true}, "http://[::1]:5000/": {false, true},
		"https://127.0.0.1:6443/": {false, true}, "http://169.254.169.254/latest/meta-data/": {true, true},
	} {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		for i, here := range []bool{true, false} {
			_, err := noPlainHTTP{answer{}, here}.RoundTrip(req)
			if errors.Is(err, errPlain) != refused[i] {
				t.Errorf("%s, registry here %v: %v", url, here, err)
			}
		}
	}
}

// A registry that leads to another place for a blob does not give it the password (CVE-2020-15157), nor the token.
func TestPasswordStaysWithItsRegistry(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			inner := newFaulty(t)
			push(t, inner.host+"/web", build(t, "amd64", false, map[string]string{"f": "1"}))
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if h := r.Header.Get("Authorization"); h != "" {
					t.Errorf("another host is told %q", h)
				}
				inner.ServeHTTP(w, r)
			}))
			defer other.Close()
			var srv *httptest.Server
			led := 0
			srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, password, basic := r.BasicAuth()
				switch {
				case r.URL.Path == "/token" && user == "joe" && password == "secret":
					io.WriteString(w, `{"token":"sesame"}`)
				case basic && scheme == "Basic" && password == "secret", scheme == "Bearer" && r.Header.Get("Authorization") == "Bearer sesame":
					if strings.Contains(r.URL.Path, "/blobs/") {
						led++
						http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
						return
					}
					inner.ServeHTTP(w, r)
				default:
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`%s realm="%s/token",service="x"`, scheme, srv.URL))
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			defer srv.Close()
			s := newStore(t)
			s.Platform.Architecture = "amd64"
			auth := &api.RegistryAuth{Username: "joe", Password: "secret"}
			if _, err := s.Pull(t.Context(), strings.TrimPrefix(srv.URL, "http://")+"/web", PullOptions{Auth: auth}, nil); err != nil || led == 0 {
				t.Errorf("led elsewhere %d times, %v", led, err)
			}
		})
	}
}

type answer struct{}

func (answer) RoundTrip(*http.Request) (*http.Response, error) { return &http.Response{}, nil }

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	s := newStore(t)
	s.Retry = Retry{Attempts: 2, First: time.Hour, Longest: time.Hour}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it is not tried again
	defer cancel()
	_, err = s.Pull(ctx, host+"/web", PullOptions{}, nil)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}
