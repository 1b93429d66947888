package raft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/shoal-dev/shoal/internal/durable"
)

// keySize is that of the data key and of the keys made from it (AES-256).
const keySize = 32

// loadKey reads the data key of this manager, or makes one: a file of its own with mode 0600, so that the
// log and the snapshots can be copied without what opens them.
func loadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) != keySize {
		return nil, fmt.Errorf("read data key %s: %d bytes, want %d", path, len(key), keySize)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return key, err
	}
	key = make([]byte, keySize)
	rand.Read(key) // never fails, see crypto/rand
	if err := durable.Write(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("create data key: %w", err)
	}
	return key, nil
}

// sealer encrypts the values of the log. Each start of a process takes a random salt, from which the
// key for its values is made, and counts: no nonce can ever come twice. A sealed value is
//
//	salt[16] counter[8] ciphertext tag[16]
//
// and bound to where it is stored, so that values cannot change places.
type sealer struct {
	dataKey []byte
	salt    [saltSize]byte
	count   atomic.Uint64

	mu    sync.Mutex
	aeads map[[saltSize]byte]cipher.AEAD
}

const (
	saltSize    = 16
	counterSize = 8
)

var errSealed = errors.New("cannot be decrypted: the data key is not the one it was written with, or the file is damaged")

func newSealer(dataKey []byte) *sealer {
	s := &sealer{dataKey: dataKey, aeads: map[[saltSize]byte]cipher.AEAD{}}
	rand.Read(s.salt[:])
	return s
}

func (s *sealer) seal(plain, place []byte) ([]byte, error) {
	aead, err := s.aead(s.salt)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, saltSize+counterSize+len(plain)+aead.Overhead())
	out = append(out, s.salt[:]...)
	out = binary.BigEndian.AppendUint64(out, s.count.Add(1))
	return aead.Seal(out, nonce(out[saltSize:]), plain, place), nil
}

func (s *sealer) open(sealed, place []byte) ([]byte, error) {
	if len(sealed) < saltSize+counterSize {
		return nil, errSealed
	}
	aead, err := s.aead([saltSize]byte(sealed))
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nonce(sealed[saltSize:]), sealed[saltSize+counterSize:], place)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

func (s *sealer) aead(salt [saltSize]byte) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.aeads[salt]; a != nil {
		return a, nil
	}
	a, err := newAEAD(s.dataKey, salt[:], "shoal raft log")
	if err == nil {
		s.aeads[salt] = a
	}
	return a, err
}

// nonce widens a counter to the 12 bytes of AES-GCM.
func nonce(counter []byte) []byte {
	n := make([]byte, 12)
	copy(n[4:], counter[:counterSize])
	return n
}

func newAEAD(dataKey, salt []byte, purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, dataKey, salt, purpose, keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
