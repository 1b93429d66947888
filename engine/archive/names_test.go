//go:build linux

package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestManyNames: what is in a large directory is all found, once each, while a part of the names alone is in memory.
func TestManyNames(t *testing.T) {
	needRoot(t)
	const n = 3*portion + 7
	dir, err := os.MkdirTemp("/dev/shm", "names") // in memory: a disk takes seconds for as many
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	tail := strings.Repeat("x", 200)
	os.Mkdir(filepath.Join(dir, "d"), 0o755)
	for i := range n {
		f, err := os.Create(filepath.Join(dir, "d", fmt.Sprintf("%06d", i)+tail))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	r := open(t, dir)
	fd, err := r.find("/d", false)
	if err != nil {
		t.Fatal(err)
	}
	defer newFile(fd).Close()
	seen, most, before := make([]byte, n), uint64(0), heap()
	err = eachName(fd, "d", func(base string) error {
		var i int
		if _, err := fmt.Sscanf(base[:6], "%d", &i); err != nil {
			return err
		}
		if seen[i]++; i%(portion/4) == 0 {
			most = max(most, heap())
		}
		return nil
	})
	if err != nil || slices.ContainsFunc(seen, func(b byte) bool { return b != 1 }) {
		t.Errorf("%v; not every name came once", err)
	}
	if all, held := uint64(n*(208+16)), most-before; held > all/2 {
		t.Errorf("%d bytes are held for names that have %d together", held, all)
	}
	var archive bytes.Buffer
	if err := r.WriteAll(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	if got := len(list(t, &archive)); got != n+1 {
		t.Errorf("the archive has %d entries, want %d", got, n+1)
	}
	changes, err := Changes(dir, t.TempDir(), Users{}, false, func(string) bool { return false })
	if err != nil || len(changes) != n+1 || !slices.IsSortedFunc(changes, inOrder) || changes[0].Path != "/d" {
		t.Errorf("%d changes, %v, want %d in order", len(changes), err, n+1)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestInOrder(t *testing.T) {
	want := []string{"/a", "/a/b", "/a/b/c", "/a/b.c", "/a-b", "/a.b", "/a.b/x", "/ab", "/b"}
	var got []Change
	for _, p := range want {
		got = append(got, Change{Path: p})
	}
	slices.Reverse(got)
	slices.SortFunc(got, inOrder)
	for i, p := range want {
		if got[i].Path != p {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
