//go:build linux

package node

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

func TestDamagedFilesAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := sound(path); err != nil {
		t.Errorf("no file: %v", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"a", "b"} {
			b, err := tx.CreateBucket([]byte(name))
			for i := 0; err == nil && i < 1000; i++ {
				err = b.Put(fmt.Appendf(nil, "%05d", i), bytes.Repeat([]byte{byte(i)}, 100))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sound(path); err != nil {
		t.Errorf("a sound file: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for name, damage := range map[string]func([]byte) []byte{
		"both meta pages": func(b []byte) []byte { clear(b[:2*page]); return b },
		"all pages but those": func(b []byte) []byte {
			for i := 2 * page; i < len(b); i += 16 {
				b[i] ^= 0x5a
			}
			return b
		},
		"the end is missing":          func(b []byte) []byte { return b[:4*page] },
		"zeros, as after a power cut": func(b []byte) []byte { clear(b[3*page:]); return b },
	} {
		if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := sound(path); !errors.Is(err, errDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
