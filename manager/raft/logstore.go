package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	bolt "go.etcd.io/bbolt"
)

// logStore keeps the log and Raft's own few values (term, vote) in one bbolt file:
//
//	bucket "log":    index, 8 bytes big endian -> sealed entry
//	bucket "stable": name -> sealed value
//
// An entry is: version 1, type, term (uvarint), appended at (varint, Unix nanoseconds), length of the
// extensions (uvarint), extensions, data.
type logStore struct {
	db   *bolt.DB
	seal *sealer
}

const entryVersion = 1

// errNotFound has the text that raft compares with.
var errNotFound = errors.New("not found")

func bucketLog() []byte    { return []byte("log") }
func bucketStable() []byte { return []byte("stable") }

func openLogStore(path string, seal *sealer) (*logStore, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:        5 * time.Second, // a daemon that is just ending still holds the lock
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
	})
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketLog()); err != nil {
			return err
		}
		_, err := tx.CreateBucketIfNotExists(bucketStable())
		return err
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("create raft log %s: %w", path, err)
	}
	return &logStore{db: db, seal: seal}, nil
}

func (s *logStore) Close() error { return s.db.Close() }

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) {
	return s.edge(func(c *bolt.Cursor) []byte { k, _ := c.First(); return k })
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) {
	return s.edge(func(c *bolt.Cursor) []byte { k, _ := c.Last(); return k })
}

func (s *logStore) edge(pick func(*bolt.Cursor) []byte) (index uint64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if k := pick(tx.Bucket(bucketLog()).Cursor()); k != nil {
			index = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return index, err
}

// GetLog implements raft.LogStore.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	return s.db.View(func(tx *bolt.Tx) error {
		key := indexKey(index)
		sealed := tx.Bucket(bucketLog()).Get(key)
		if sealed == nil {
			return raft.ErrLogNotFound
		}
		plain, err := s.seal.open(sealed, key)
		if err != nil {
			return fmt.Errorf("raft log entry %d: %w", index, err)
		}
		return decodeLog(plain, index, l)
	})
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore: all entries in one transaction, one fsync.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketLog())
		b.FillPercent = 0.9 // entries are appended: half-empty pages would stay so
		for _, l := range logs {
			key := indexKey(l.Index)
			sealed, err := s.seal.seal(encodeLog(l), key)
			if err != nil {
				return err
			}
			if err := b.Put(key, sealed); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteRange implements raft.LogStore; both ends are included.
func (s *logStore) DeleteRange(first, last uint64) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketLog()).Cursor()
		for k, _ := c.Seek(indexKey(first)); k != nil && binary.BigEndian.Uint64(k) <= last; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Set implements raft.StableStore.
func (s *logStore) Set(key, value []byte) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		sealed, err := s.seal.seal(value, key)
		if err != nil {
			return err
		}
		return tx.Bucket(bucketStable()).Put(key, sealed)
	})
}

// Get implements raft.StableStore.
func (s *logStore) Get(key []byte) (value []byte, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		sealed := tx.Bucket(bucketStable()).Get(key)
		if sealed == nil {
			return errNotFound
		}
		value, err = s.seal.open(sealed, key)
		return err
	})
	return value, err
}

// SetUint64 implements raft.StableStore.
func (s *logStore) SetUint64(key []byte, v uint64) error { return s.Set(key, indexKey(v)) }

// GetUint64 implements raft.StableStore.
func (s *logStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("raft value %s has %d bytes, want 8", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func encodeLog(l *raft.Log) []byte {
	b := make([]byte, 0, 2+3*binary.MaxVarintLen64+len(l.Extensions)+len(l.Data))
	b = append(b, entryVersion, byte(l.Type))
	b = binary.AppendUvarint(b, l.Term)
	at := int64(0)
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.AppendVarint(b, at)
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

func decodeLog(b []byte, index uint64, l *raft.Log) error {
	bad := fmt.Errorf("raft log entry %d: damaged or written by a newer version", index)
	if len(b) < 2 || b[0] != entryVersion {
		return bad
	}
	*l = raft.Log{Index: index, Type: raft.LogType(b[1])}
	b = b[2:]
	term, n := binary.Uvarint(b)
	if n <= 0 {
		return bad
	}
	b = b[n:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return bad
	}
	b = b[n:]
	ext, n := binary.Uvarint(b)
	if n <= 0 || ext > uint64(len(b)-n) {
		return bad
	}
	b = b[n:]
	l.Term = term
	if at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	if ext > 0 {
		l.Extensions = b[:ext:ext]
	}
	l.Data = b[ext:]
	return nil
}
