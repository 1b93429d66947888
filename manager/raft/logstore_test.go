package raft

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openLogs(t testing.TB, dir string) *logStore {
	t.Helper()
	key, err := loadKey(filepath.Join(dir, "data.key"))
	check(t, err)
	s, err := openLogStore(filepath.Join(dir, "log.db"), newSealer(key))
	check(t, err)
	return s
}

func TestLogStore(t *testing.T) {
	dir := t.TempDir()
	s := openLogs(t, dir)
	var want []*raft.Log
	for i := uint64(5); i < 15; i++ {
		want = append(want, &raft.Log{Index: i, Term: i / 3, Type: raft.LogConfiguration, Data: []byte{byte(i)}, Extensions: []byte("ext"), AppendedAt: time.Unix(1, int64(i))})
	}
	check(t, s.StoreLogs(want))
	check(t, s.SetUint64([]byte("term"), 7))
	check(t, s.Close())
	s = openLogs(t, dir) // another salt: old values must still open
	defer s.Close()
	for _, w := range want {
		var got raft.Log
		check(t, s.GetLog(w.Index, &got))
		if diff := cmp.Diff(*w, got); diff != "" {
			t.Errorf("entry %d: %s", w.Index, diff)
		}
	}
	check(t, s.DeleteRange(5, 7))
	check(t, s.DeleteRange(13, 20))
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	if first != 8 || last != 12 {
		t.Errorf("after deletions first %d, last %d, want 8 and 12", first, last)
	}
	if err := s.GetLog(5, &raft.Log{}); err != raft.ErrLogNotFound {
		t.Errorf("deleted entry: %v, want %v", err, raft.ErrLogNotFound)
	}
	if v, err := s.GetUint64([]byte("term")); v != 7 || err != nil {
		t.Errorf("term %d, %v, want 7", v, err)
	}
	if _, err := s.Get([]byte("none")); err == nil || err.Error() != "not found" {
		t.Errorf("missing value: %v, want not found", err)
	}
}

func TestLogIsEncrypted(t *testing.T) {
	dir := t.TempDir()
	s := openLogs(t, dir)
	secret := []byte("the-token-of-the-cluster")
	check(t, s.StoreLog(&raft.Log{Index: 1, Data: secret}))
	check(t, s.Set([]byte("k"), secret))
	check(t, s.Close())
	raw, err := os.ReadFile(filepath.Join(dir, "log.db"))
	check(t, err)
	if bytes.Contains(raw, secret) {
		t.Error("the file holds plain text")
	}
	if st, _ := os.Stat(filepath.Join(dir, "data.key")); st.Mode().Perm() != 0o600 {
		t.Errorf("data key has mode %v, want 0600", st.Mode())
	}
	check(t, os.Remove(filepath.Join(dir, "data.key")))
	s = openLogs(t, dir)
	defer s.Close()
	if err := s.GetLog(1, &raft.Log{}); err == nil {
		t.Error("an entry opened with another key")
	}
}

func TestSealBindsPlace(t *testing.T) {
	s := newSealer(make([]byte, keySize))
	sealed, err := s.seal([]byte("x"), indexKey(1))
	check(t, err)
	if _, err := s.open(sealed, indexKey(2)); err == nil {
		t.Error("a value opened in another's place")
	}
	again, err := s.seal([]byte("x"), indexKey(1))
	check(t, err)
	if bytes.Equal(sealed, again) {
		t.Error("one value sealed twice is equal: a nonce was used twice")
	}
}

func BenchmarkStoreLog(b *testing.B) {
	s := openLogs(b, b.TempDir())
	defer s.Close()
	data := make([]byte, 1000)
	for i := 0; b.Loop(); i++ {
		check(b, s.StoreLog(&raft.Log{Index: uint64(i + 1), Data: data}))
	}
}
