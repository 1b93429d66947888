package raft

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

func newSnapshots(t *testing.T, dir string) *sealedSnapshots {
	t.Helper()
	files, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	check(t, err)
	return &sealedSnapshots{files, make([]byte, keySize)}
}

func writeSnapshot(t *testing.T, s *sealedSnapshots, index uint64, data []byte) string {
	t.Helper()
	_, trans := raft.NewInmemTransport("a")
	sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, trans)
	check(t, err)
	for rest := data; len(rest) > 0; { // in odd pieces
		n := min(len(rest), 10007)
		_, err := sink.Write(rest[:n])
		check(t, err)
		rest = rest[n:]
	}
	check(t, sink.Close())
	return sink.ID()
}

func TestSnapshotSizes(t *testing.T) {
	s := newSnapshots(t, t.TempDir())
	for i, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize + 5} {
		data := bytes.Repeat([]byte("a marker "), size/9+1)[:size]
		id := writeSnapshot(t, s, uint64(i+1), data)
		meta, r, err := s.Open(id)
		check(t, err)
		got, err := io.ReadAll(r)
		check(t, err)
		check(t, r.Close())
		if !bytes.Equal(got, data) || meta.Size != int64(size) {
			t.Errorf("size %d: read %d bytes, meta says %d", size, len(got), meta.Size)
		}
		list, err := s.List()
		check(t, err)
		if list[0].Size != int64(size) {
			t.Errorf("size %d: list says %d", size, list[0].Size)
		}
	}
}

func TestSnapshotIsEncryptedAndWhole(t *testing.T) {
	dir := t.TempDir()
	s := newSnapshots(t, dir)
	id := writeSnapshot(t, s, 1, bytes.Repeat([]byte("plain marker"), 20000))
	path := filepath.Join(dir, "snapshots", id, "state.bin")
	raw, err := os.ReadFile(path)
	check(t, err)
	if bytes.Contains(raw, []byte("plain marker")) {
		t.Error("the file holds plain text")
	}
	cut := raw[:saltSize+chunkSize+tagSize] // whole chunks, but not all
	aead, err := newAEAD(s.dataKey, cut[:saltSize], purpose)
	check(t, err)
	r := &sealedReader{r: bufio.NewReader(bytes.NewReader(cut[saltSize:])), aead: aead}
	if _, err := io.ReadAll(r); err == nil {
		t.Error("a snapshot that was cut off at a chunk's end was read without an error")
	}
}
