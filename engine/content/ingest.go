//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-dev/shoal/internal/durable"
)

// ErrDigest says that what was written is not what was announced.
var ErrDigest = errors.New("digest mismatch")

// Ingest is a blob on its way in. It is an io.Writer that appends. End it with Commit, Close or Abort.
type Ingest struct {
	store  *Store
	file   *os.File
	hash   hash.Hash
	want   digest.Digest // empty: any
	size   int64
	unlock func()
}

// Resume starts or continues bringing in blob d: Size tells how much an earlier, broken attempt left. If another
// caller is bringing in the same blob, Resume waits for its end. It returns nil, nil if the blob is there already.
func (s *Store) Resume(ctx context.Context, d digest.Digest) (*Ingest, error) {
	if err := check(d); err != nil {
		return nil, err
	}
	unlock, err := s.locks.Lock(ctx, d.String())
	if err != nil {
		return nil, err
	}
	if s.Has(d) {
		unlock()
		return nil, nil
	}
	in, err := s.openIngest(filepath.Join(s.ingestDir(), d.Algorithm().String()+"-"+d.Encoded()))
	if err != nil {
		unlock()
		return nil, err
	}
	in.want, in.unlock = d, unlock
	return in, nil
}

// Create starts bringing in a blob whose digest Commit will tell.
func (s *Store) Create() (*Ingest, error) {
	f, err := os.CreateTemp(s.ingestDir(), "new-")
	if err != nil {
		return nil, fmt.Errorf("start ingest: %w", err)
	}
	return &Ingest{store: s, file: f, hash: digest.SHA256.Hash(), unlock: func() {}}, nil
}

// openIngest opens a file for appending and hashes what it holds.
func (s *Store) openIngest(path string) (*Ingest, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start ingest: %w", err)
	}
	h := digest.SHA256.Hash()
	n, err := io.Copy(h, f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read earlier ingest: %w", err)
	}
	return &Ingest{store: s, file: f, hash: h, size: n}, nil
}

// Size is how many bytes are there.
func (in *Ingest) Size() int64 { return in.size }

// Digest is that of what is there so far.
func (in *Ingest) Digest() digest.Digest { return digest.NewDigest(digest.SHA256, in.hash) }

func (in *Ingest) Write(p []byte) (int, error) {
	n, err := in.file.Write(p)
	in.hash.Write(p[:n])
	in.size += int64(n)
	return n, err
}

// Truncate starts over from an empty file.
func (in *Ingest) Truncate() error {
	if err := in.file.Truncate(0); err != nil {
		return fmt.Errorf("truncate ingest: %w", err)
	}
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("truncate ingest: %w", err)
	}
	in.hash.Reset()
	in.size = 0
	return nil
}

// Commit verifies and publishes the blob. With a wrong digest everything written is thrown away, so that the
// next attempt starts over. The ingest is closed in any case.
func (in *Ingest) Commit() (digest.Digest, error) {
	got := in.Digest()
	if in.want != "" && got != in.want {
		in.Abort()
		return "", fmt.Errorf("%w: received %s, expected %s", ErrDigest, got, in.want)
	}
	if err := in.publish(got); err != nil {
		in.Close()
		return "", fmt.Errorf("commit blob %s: %w", got, err)
	}
	return got, in.Close()
}

// publish makes the bytes durable before the name, and the name durable before it is believed.
func (in *Ingest) publish(d digest.Digest) error {
	if err := in.file.Chmod(0o400); err != nil {
		return err
	}
	if err := in.file.Sync(); err != nil {
		return err
	}
	return durable.Rename(in.file.Name(), filepath.Join(in.store.blobDir(), d.Encoded()))
}

// Close ends the ingest and keeps what was written for a later Resume; an unnamed one (Create) is thrown away.
func (in *Ingest) Close() error {
	if in.file == nil {
		return nil
	}
	if in.want == "" {
		os.Remove(in.file.Name()) // no error of interest: after Commit it is gone
	}
	err := in.file.Close()
	in.file = nil
	in.unlock()
	return err
}

// Abort ends the ingest and throws away what was written.
func (in *Ingest) Abort() error {
	if in.file == nil {
		return nil
	}
	err := os.Remove(in.file.Name())
	return errors.Join(err, in.Close())
}

// CleanIngests removes what broken attempts left and nobody touched for age. Call it with 0 only while no ingest
// is open.
func (s *Store) CleanIngests(age time.Duration) error {
	entries, err := os.ReadDir(s.ingestDir())
	if err != nil {
		return fmt.Errorf("clean ingests: %w", err)
	}
	var errs []error
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || time.Since(fi.ModTime()) < age {
			continue
		}
		if err := s.cleanIngest(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// DropIngests removes the beginnings of blobs that nobody will go on with: those that wanted does not know, and those whose digest
// nobody knows. Call it only while no ingest is open.
func (s *Store) DropIngests(wanted map[digest.Digest]bool) error {
	entries, err := os.ReadDir(s.ingestDir())
	if err != nil {
		return fmt.Errorf("clean ingests: %w", err)
	}
	var errs []error
	for _, e := range entries {
		alg, hex, _ := strings.Cut(e.Name(), "-")
		if !wanted[digest.NewDigestFromEncoded(digest.Algorithm(alg), hex)] {
			errs = append(errs, os.Remove(filepath.Join(s.ingestDir(), e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) cleanIngest(name string) error {
	if alg, hex, ok := strings.Cut(name, "-"); ok && alg == string(digest.SHA256) {
		unlock, ok := s.locks.TryLock(alg + ":" + hex)
		if !ok {
			return nil
		}
		defer unlock()
	}
	return os.Remove(filepath.Join(s.ingestDir(), name))
}
