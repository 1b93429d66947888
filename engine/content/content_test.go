//go:build linux

package content

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, text string) digest.Digest {
	t.Helper()
	in, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, text)
	d, err := in.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRoundTrip(t *testing.T) {
	s := open(t)
	d := put(t, s, "hello")
	if d != digest.FromString("hello") {
		t.Errorf("digest %s", d)
	}
	b, err := s.ReadSmall(d, 5)
	if err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := s.ReadSmall(d, 4); err == nil {
		t.Error("a blob longer than the limit was read")
	}
	seen := map[digest.Digest]int64{}
	s.Walk(func(d digest.Digest, n int64) error { seen[d] = n; return nil })
	if diff := cmp.Diff(map[digest.Digest]int64{d: 5}, seen); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(s.Delete(d), s.Delete(d)); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(d); !errors.Is(err, ErrNotFound) {
		t.Errorf("open after delete: %v", err)
	}
}

func TestResumeAfterRestart(t *testing.T) {
	s := open(t)
	d := digest.FromString("hello world")
	in, err := s.Resume(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, "hello ")
	in.Close()
	again, err := Open(s.dir) // what a restarted daemon does
	if err != nil {
		t.Fatal(err)
	}
	in, err = again.Resume(t.Context(), d)
	if err != nil || in.Size() != 6 {
		t.Fatalf("resumed at %d, %v", in.Size(), err)
	}
	io.WriteString(in, "world")
	if got, err := in.Commit(); err != nil || got != d {
		t.Fatalf("commit: %s, %v", got, err)
	}
	if in, err := again.Resume(t.Context(), d); in != nil || err != nil {
		t.Errorf("a blob that is there: %v, %v", in, err)
	}
}

func TestWrongDigestIsThrownAway(t *testing.T) {
	s := open(t)
	d := digest.FromString("right")
	in, _ := s.Resume(t.Context(), d)
	io.WriteString(in, "wrong")
	if _, err := in.Commit(); !errors.Is(err, ErrDigest) {
		t.Fatalf("commit: %v", err)
	}
	if s.Has(d) || s.Has(digest.FromString("wrong")) {
		t.Error("a refused blob was kept")
	}
	in, err := s.Resume(t.Context(), d)
	if err != nil || in.Size() != 0 {
		t.Errorf("next attempt starts at %d, %v", in.Size(), err)
	}
	in.Abort()
}

func TestConcurrentResumeSharesWork(t *testing.T) {
	s := open(t)
	d := digest.FromString("shared")
	var wrote atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			in, err := s.Resume(context.Background(), d)
			if err != nil {
				t.Error(err)
			}
			if in == nil {
				return
			}
			wrote.Add(1)
			io.WriteString(in, "shared")
			if _, err := in.Commit(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wrote.Load() != 1 {
		t.Errorf("%d callers wrote the blob", wrote.Load())
	}
}

func TestResumeWaitsNoLongerThanItsContext(t *testing.T) {
	s := open(t)
	d := digest.FromString("x")
	in, _ := s.Resume(t.Context(), d)
	defer in.Abort()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Resume(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("second Resume: %v", err)
	}
}

func TestRefusedDigests(t *testing.T) {
	s := open(t)
	for _, d := range []digest.Digest{"", "sha256:../../etc/passwd", "sha512:" + digest.Digest(strings.Repeat("0", 128)), "nonsense"} {
		if _, err := s.Resume(t.Context(), d); err == nil {
			t.Errorf("digest %q accepted", d)
		}
		if err := s.Delete(d); err == nil {
			t.Errorf("delete of %q accepted", d)
		}
	}
}

func TestCleanIngests(t *testing.T) {
	s := open(t)
	left, _ := s.Resume(t.Context(), digest.FromString("left"))
	left.Close()
	busy, _ := s.Resume(t.Context(), digest.FromString("busy"))
	defer busy.Abort()
	if err := s.CleanIngests(0); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(s.ingestDir())
	if len(entries) != 1 || !strings.HasSuffix(entries[0].Name(), digest.FromString("busy").Encoded()) {
		t.Errorf("left in ingest: %v", entries)
	}
}
