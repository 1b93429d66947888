//go:build linux

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// holds lists what a directory holds, hidden files as well.
func holds(t *testing.T, r *Root, dir string, want ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(context.Background(), dir+"/.", false, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append([]string{"./"}, want...), list(t, &b)); diff != "" {
		t.Error(diff)
	}
}

// TestCutOff cuts an archive in the middle of a file: what was there stays, nothing half made has come.
func TestCutOff(t *testing.T) {
	needRoot(t)
	long := strings.Repeat("x", 100<<10)
	lost := errors.New("connection lost")
	for _, cut := range []struct {
		end  io.Reader
		want error
	}{{strings.NewReader(""), io.ErrUnexpectedEOF}, {failing{lost}, lost}} {
		for _, name := range []string{"old", "fresh"} {
			r := open(t, tree(t, "to/", "to/old:1"))
			whole := tarOf(t, "first:2", name+":"+long).Bytes()
			in := io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), cut.end)
			if err := r.Extract(context.Background(), "/to", in, ExtractOptions{}); !errors.Is(err, cut.want) {
				t.Errorf("%s: %v, want %v", name, err, cut.want)
			}
			holds(t, r, "/to", "./first:2", "./old:1")
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestFullDisk unpacks what there is no space for.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	dir := tree(t, "small/")
	if err := unix.Mount("tmpfs", dir+"/small", "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir+"/small", unix.MNT_DETACH) })
	r := open(t, dir)
	if err := r.Extract(context.Background(), "/small", tarOf(t, "old:1"), ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	err := r.Extract(context.Background(), "/small", tarOf(t, "old:"+strings.Repeat("x", 100<<10)), ExtractOptions{})
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v, want that there is no space", err)
	}
	holds(t, r, "/small", "./old:1")
}

// TestBeside tries both kinds: with no name until it is whole, and with a hidden one.
func TestBeside(t *testing.T) {
	needRoot(t)
	for name, create := range map[string]func(int) (*beside, error){"unnamed": newBeside, "hidden": newHidden} {
		t.Run(name, func(t *testing.T) {
			r := open(t, tree(t, "to/", "to/old:1", "to/link -> old"))
			parent, err := r.open("/to", unix.O_PATH|unix.O_DIRECTORY)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(parent)
			for _, base := range []string{"old", "fresh", "link", ""} {
				b, err := create(parent)
				if err != nil {
					t.Fatal(err)
				}
				err = b.fill(t.Context(), &tar.Header{Mode: 0o640}, strings.NewReader("2"), make([]byte, 10))
				if base != "" {
					err = errors.Join(err, b.become(base))
				}
				if err != nil {
					t.Error(err)
				}
				b.close()
			}
			holds(t, r, "/to", "./fresh:2", "./link:2", "./old:2")
		})
	}
}

// TestSecondNames unpacks twice what has two names: renaming one of them to the other would do nothing.
func TestSecondNames(t *testing.T) {
	needRoot(t)
	r := open(t, tree(t, "to/"))
	for range 2 {
		if err := r.Extract(context.Background(), "/to", tarOf(t, "a:1", "b = a", "b = a", "l -> a"), ExtractOptions{}); err != nil {
			t.Fatal(err)
		}
		holds(t, r, "/to", "./a:1", "./b = ./a", "./l -> a")
	}
}

// TestBecameShorter cuts a file while it is read.
func TestBecameShorter(t *testing.T) {
	dir := tree(t, "f:"+strings.Repeat("x", 300<<10))
	r := open(t, dir)
	cut := writerFunc(func(b []byte) (int, error) { return len(b), os.Truncate(dir+"/f", 10) })
	if err := r.Write(context.Background(), "/f", false, cut); !errors.Is(err, ErrShorter) {
		t.Errorf("%v, want %v", err, ErrShorter)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
