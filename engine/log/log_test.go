//go:build linux

package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

var epoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// text is line n as the shim writes it, n seconds after the epoch.
func text(n int) string {
	stream := "stdout"
	if n%2 == 1 {
		stream = "stderr"
	}
	return fmt.Sprintf(`{"log":"line %d\n","stream":%q,"time":%q}`+"\n", n, stream, epoch.Add(time.Duration(n)*time.Second).Format(time.RFC3339Nano))
}

// writer writes a log as the shim does: so many lines a file, so many files.
type writer struct {
	t            *testing.T
	path         string
	files, lines int
	n            int // next line
	inFile       int
}

func (w *writer) write(count int) {
	w.t.Helper()
	for range count {
		if w.inFile == w.lines {
			w.rotate()
		}
		w.append(text(w.n))
		w.n++
		w.inFile++
	}
}

func (w *writer) append(s string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = f.WriteString(s)
	if err = errors.Join(err, f.Close()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) rotate() {
	w.t.Helper()
	for i := w.files - 1; i > 0; i-- {
		err := os.Rename(name(w.path, i-1), name(w.path, i))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
	w.inFile = 0
}

// collect reads lines as their numbers.
func collect(ctx context.Context, path string, o Options, also func(n int)) ([]int, error) {
	var got []int
	err := Read(ctx, path, o, func(l *api.LogLine) error {
		var n int
		if _, err := fmt.Sscanf(string(l.Data), "line %d\n", &n); err != nil {
			return err
		}
		if l.Stderr != (n%2 == 1) || !l.Time.AsTime().Equal(epoch.Add(time.Duration(n)*time.Second)) {
			return fmt.Errorf("line %d: %v", n, l)
		}
		got = append(got, n)
		if also != nil {
			also(n)
		}
		return nil
	})
	return got, err
}

func from(first, last int) []int {
	var out []int
	for n := first; n <= last; n++ {
		out = append(out, n)
	}
	return out
}

func TestRead(t *testing.T) {
	second := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	for name, tc := range map[string]struct {
		o    Options
		want []int
	}{
		"all":                        {Options{Tail: -1}, from(4, 13)},
		"none":                       {Options{Tail: 0}, nil},
		"tail in the newest file":    {Options{Tail: 1}, from(13, 13)},
		"tail, the newest file":      {Options{Tail: 2}, from(12, 13)},
		"tail over files":            {Options{Tail: 7}, from(7, 13)},
		"tail of more than there is": {Options{Tail: 1000}, from(4, 13)},
		"since":                      {Options{Tail: -1, Since: second(9)}, from(9, 13)},
		"until":                      {Options{Tail: -1, Until: second(9)}, from(4, 9)},
		"between":                    {Options{Tail: -1, Since: second(6), Until: second(9)}, from(6, 9)},
		"since, of the tail":         {Options{Tail: 3, Since: second(9)}, from(11, 13)},
		"nothing so late":            {Options{Tail: -1, Since: second(99)}, nil},
	} {
		w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 3, lines: 4}
		w.write(14) // in files of lines 4 to 7, 8 to 11, 12 and 13
		for _, compressed := range []bool{false, true} {
			if compressed {
				w.compress()
			}
			got, err := collect(t.Context(), w.path, tc.o, nil)
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%s, compressed %v: %v (-want +got):\n%s", name, compressed, err, diff)
			}
		}
	}
}

// A reader that follows sees every line once, however fast the writer turns its files over.
func TestFollowAcrossRotations(t *testing.T) {
	t.Run("plain", func(t *testing.T) { followAcrossRotations(t, func(*writer) {}) })
	t.Run("compressed", func(t *testing.T) { followAcrossRotations(t, (*writer).compress) })
}

func followAcrossRotations(t *testing.T, between func(*writer)) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 5, lines: 3}
	w.write(7)
	done := make(chan struct{})
	seen := make(chan int, 1000)
	go func() {
		defer close(done)
		for last := 0; w.n < 300; {
			w.write(2)
			between(w)
			for last < w.n-8 { // the reader keeps up with all but two files: those that it misses nobody can give it
				last = <-seen
			}
		}
	}()
	got, err := collect(t.Context(), w.path, Options{Tail: -1, Follow: true, Done: done}, func(n int) { seen <- n })
	if diff := cmp.Diff(from(0, w.n-1), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// The log need not exist when following begins; a line is a line when its end is there.
func TestFollowFromNothing(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 2, lines: 100}
	seen := make(chan int, 10)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	var got []int
	go func() {
		var err error
		got, err = collect(ctx, w.path, Options{Tail: -1, Follow: true}, func(n int) { seen <- n })
		result <- err
	}()
	w.write(1)
	<-seen
	half := len(text(1)) / 2
	w.append(text(1)[:half])
	w.append(text(1)[half:])
	w.n++
	<-seen
	w.write(1)
	<-seen
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if diff := cmp.Diff(from(0, 2), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A log of one file is emptied when it is full.
func TestFollowTruncation(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 1, lines: 100}
	w.write(5)
	done, seen := make(chan struct{}), make(chan int, 10)
	go func() {
		defer close(done)
		for n := range seen {
			if n == 4 {
				break
			}
		}
		if err := os.Truncate(w.path, 0); err != nil {
			t.Error(err)
		}
		w.write(2)
		for n := range seen {
			if n == 6 {
				return
			}
		}
	}()
	got, err := collect(t.Context(), w.path, Options{Tail: -1, Follow: true, Done: done}, func(n int) { seen <- n })
	if diff := cmp.Diff(from(0, 6), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestFollowEndsWithUntil(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 2, lines: 100}
	w.write(3)
	got, err := collect(t.Context(), w.path, Options{Tail: -1, Follow: true, Until: epoch.Add(time.Second)}, nil) // long past
	if diff := cmp.Diff(from(0, 1), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// A crash leaves half a line, a bad disk worse: the rest is read, and it is said that something is missing.
func TestSpoiltLines(t *testing.T) {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "log"), files: 3, lines: 100}
	w.write(2)
	w.append(text(2)[:20] + "\n")
	w.append(strings.Repeat("x", longest+5000) + "\n")
	w.n = 2
	w.write(1)
	w.append(`{"log":"cut in the`)
	w.rotate()
	w.write(1)
	got, err := collect(t.Context(), w.path, Options{Tail: -1}, nil)
	if diff := cmp.Diff(from(0, 3), got); diff != "" || err == nil || !strings.Contains(err.Error(), "3 lines") {
		t.Errorf("%v, want three lines missing (-want +got):\n%s", err, diff)
	}
}

func TestNothingToRead(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir + "/log", dir + "/no/such/log"} {
		if got, err := collect(t.Context(), path, Options{Tail: 5}, nil); len(got) > 0 || err != nil {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	want := errors.New("the caller went away")
	w := &writer{t: t, path: dir + "/log", files: 2, lines: 9}
	w.write(3)
	if err := Read(t.Context(), w.path, Options{Tail: -1}, func(*api.LogLine) error { return want }); !errors.Is(err, want) {
		t.Errorf("the caller's error: %v", err)
	}
}

func TestFromAPI(t *testing.T) {
	if o := FromAPI(nil, nil); o.Tail != -1 || o.Follow {
		t.Errorf("no options: %+v", o)
	}
	at := timestamppb.New(epoch)
	o := FromAPI(&api.LogOptions{Follow: true, Tail: 3, Since: at, Until: at}, nil)
	if !o.Follow || o.Tail != 3 || !o.Since.Equal(epoch) || !o.Until.Equal(epoch) {
		t.Errorf("%+v", o)
	}
}

// The end of a file is found backwards over the buffer's borders.
func TestTailOffset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var b strings.Builder
	var starts []int64
	for i := range 40 {
		starts = append(starts, int64(b.Len()))
		b.WriteString(strings.Repeat("x", i*1000) + "\n")
	}
	size := int64(b.Len())
	b.WriteString("no end yet")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := range int64(45) {
		off, found, err := tailOffset(f, n)
		want, lines := size, min(n, 40)
		if lines > 0 {
			want = starts[40-lines]
		}
		if err != nil || off != want || found != lines {
			t.Errorf("the last %d lines: offset %d, %d found, %v, want %d, %d", n, off, found, err, want, lines)
		}
	}
}
