//go:build linux

package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// errDamaged is what sound returns of a file that is no whole database.
var errDamaged = errors.New("the file is damaged")

// lockWait is for a daemon that is just ending and still holds the file's lock.
const lockWait = 5 * time.Second

// sound returns nil for a bbolt file that is whole, empty or not there. It tells before bbolt finds out by itself, which then
// panics in a goroutine of its own, where nobody can recover, and would take the whole daemon along, at every start. It reads
// each page that can be reached, as bbolt's open of a file without a stored freelist does, too.
func sound(path string) (err error) {
	if st, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	}
	// A page number beyond the end of the file is an address without memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return readAll(b) })
	})
}

// readAll looks at every key and value.
func readAll(b *bbolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			return readAll(b.Bucket(k))
		}
		for _, part := range [][]byte{k, v} {
			if n := len(part); n > 0 {
				_ = part[0] + part[n-1]
			}
		}
		return nil
	})
}

// dropDamaged puts the agent's database aside if it is damaged. All that is in it managers tell again, and the containers are
// there for themselves.
func dropDamaged(dataDir string, log *slog.Logger) error {
	path := filepath.Join(dataDir, "agent.db")
	err := sound(path)
	if !errors.Is(err, errDamaged) {
		return err
	}
	log.Error("what this node knew of its tasks is damaged, managers will tell it again", "kept", path+".damaged", "error", err)
	return os.Rename(path, path+".damaged")
}

// wholeLog refuses a damaged log of a manager, which only the others or a backup can replace.
func wholeLog(dataDir string) error {
	path := filepath.Join(dataDir, "raft", "log.db")
	if err := sound(path); err != nil {
		return fmt.Errorf("the manager's log %s cannot be used: %w; if there are other managers, run 'shoal cluster leave --force' and join again, "+
			"else restore %s from a backup", path, err, filepath.Dir(path))
	}
	return nil
}
