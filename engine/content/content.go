//go:build linux

// Package content keeps blobs on disk under their digest.
//
// Store is the whole of it: a blob comes in through an Ingest (a file that survives a crash and is resumed),
// is verified and renamed into place, and is then never changed. Who refers to a blob, and when it may go,
// is not known here: see engine/image.
//
// On disk:
//
//	DIR/blobs/sha256/HEX     a whole, verified blob, read-only
//	DIR/ingest/sha256-HEX    the first bytes of a blob that is still being fetched
//	DIR/ingest/new-RANDOM    a blob whose digest is known only at its end
package content

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-dev/shoal/internal/keyed"
)

// ErrNotFound says that the store does not hold a blob.
var ErrNotFound = errors.New("no such blob")

// Store keeps blobs. Safe for concurrent use by one process.
type Store struct {
	dir   string
	locks keyed.Mutex
}

// Open opens or makes the store in dir.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	for _, d := range []string{s.blobDir(), s.ingestDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("create content store: %w", err)
		}
	}
	return s, nil
}

func (s *Store) blobDir() string   { return filepath.Join(s.dir, "blobs", string(digest.SHA256)) }
func (s *Store) ingestDir() string { return filepath.Join(s.dir, "ingest") }

// check refuses digests that could name another file than a blob.
func check(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %s: only sha256 is supported", d)
	}
	return nil
}

// Path is where the blob d is, or will be. The digest must be valid.
func (s *Store) Path(d digest.Digest) (string, error) {
	if err := check(d); err != nil {
		return "", err
	}
	return filepath.Join(s.blobDir(), d.Encoded()), nil
}

// Size returns a blob's length in bytes, or ErrNotFound.
func (s *Store) Size(d digest.Digest) (int64, error) {
	p, err := s.Path(d)
	if err != nil {
		return 0, err
	}
	fi, err := os.Stat(p)
	if err != nil {
		return 0, notFound(d, err)
	}
	return fi.Size(), nil
}

// Has tells whether the store holds the whole blob.
func (s *Store) Has(d digest.Digest) bool {
	_, err := s.Size(d)
	return err == nil
}

// Open opens a blob for reading. A deletion meanwhile does not disturb the reader.
func (s *Store) Open(d digest.Digest) (*os.File, error) {
	p, err := s.Path(d)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, notFound(d, err)
	}
	return f, nil
}

// ReadSmall returns a blob that must not be longer than limit bytes: a manifest or a config.
func (s *Store) ReadSmall(d digest.Digest, limit int64) ([]byte, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("blob %s is longer than the %d bytes allowed here", d, limit)
	}
	return b, nil
}

// Delete removes a blob. Deleting what is not there is no error.
func (s *Store) Delete(d digest.Digest) error {
	p, err := s.Path(d)
	if err != nil {
		return err
	}
	if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// Walk calls visit for every blob until it returns an error.
func (s *Store) Walk(visit func(d digest.Digest, size int64) error) error {
	entries, err := os.ReadDir(s.blobDir())
	if err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		if d.Validate() != nil || strings.Contains(e.Name(), ".") {
			continue // not ours
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since
		}
		if err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		if err := visit(d, fi.Size()); err != nil {
			return err
		}
	}
	return nil
}

func notFound(d digest.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", d, ErrNotFound)
	}
	return err
}
