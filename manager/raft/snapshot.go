package raft

import (
	"bufio"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// sealedSnapshots encrypts what another snapshot store keeps. A file is
//
//	salt[16] { ciphertext of up to 64 KiB, tag[16] }...
//
// with a key made from the salt and nonces that count chunks and mark the last one, so that chunks can
// be neither moved nor cut off. The empty snapshot has one empty chunk.
type sealedSnapshots struct {
	raft.SnapshotStore
	dataKey []byte
}

const (
	chunkSize = 64 << 10
	tagSize   = 16
	purpose   = "shoal raft snapshot"
)

// Create implements raft.SnapshotStore.
func (s *sealedSnapshots) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(v, index, term, c, ci, t)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	aead, err := newAEAD(s.dataKey, salt, purpose)
	if err == nil {
		_, err = sink.Write(salt)
	}
	if err != nil {
		_ = sink.Cancel()
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	return &sealedSink{SnapshotSink: sink, aead: aead, buf: make([]byte, 0, chunkSize)}, nil
}

// List implements raft.SnapshotStore with the sizes of the plain text: raft sends so many bytes to a follower.
func (s *sealedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	metas, err := s.SnapshotStore.List()
	for _, m := range metas {
		m.Size = plainSize(m.Size)
	}
	return metas, err
}

// Open implements raft.SnapshotStore.
func (s *sealedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, file, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(file, salt); err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("open snapshot %s: %w", id, err)
	}
	aead, err := newAEAD(s.dataKey, salt, purpose)
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("open snapshot %s: %w", id, err)
	}
	meta.Size = plainSize(meta.Size)
	return meta, &sealedReader{Closer: file, r: bufio.NewReaderSize(file, chunkSize+tagSize), aead: aead}, nil
}

func plainSize(sealed int64) int64 {
	body := sealed - saltSize
	chunks := (body + chunkSize + tagSize - 1) / (chunkSize + tagSize)
	return max(0, body-chunks*tagSize)
}

func chunkNonce(n uint64, last bool) []byte {
	b := make([]byte, 4, 12)
	if last {
		b[0] = 1
	}
	return binary.BigEndian.AppendUint64(b, n)
}

type sealedSink struct {
	raft.SnapshotSink
	aead cipher.AEAD
	buf  []byte
	n    uint64
}

func (s *sealedSink) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if len(s.buf) == chunkSize { // more follows, so this chunk is not the last
			if err := s.flush(false); err != nil {
				return written, err
			}
		}
		n := min(len(p), chunkSize-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, nil
}

func (s *sealedSink) flush(last bool) error {
	_, err := s.SnapshotSink.Write(s.aead.Seal(nil, chunkNonce(s.n, last), s.buf, nil))
	s.n++
	s.buf = s.buf[:0]
	return err
}

func (s *sealedSink) Close() error {
	if err := s.flush(true); err != nil {
		_ = s.SnapshotSink.Cancel()
		return err
	}
	return s.SnapshotSink.Close()
}

type sealedReader struct {
	io.Closer
	r    *bufio.Reader
	aead cipher.AEAD
	n    uint64
	rest []byte
	done bool
}

func (s *sealedReader) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.done {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *sealedReader) next() error {
	chunk := make([]byte, chunkSize+tagSize)
	n, err := io.ReadFull(s.r, chunk)
	if err != nil && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("read snapshot: %w", err)
	}
	_, peek := s.r.Peek(1)
	s.done = peek != nil
	s.rest, err = s.aead.Open(chunk[:0], chunkNonce(s.n, s.done), chunk[:n], nil)
	s.n++
	if err != nil {
		return fmt.Errorf("read snapshot: %w", errSealed)
	}
	return nil
}
