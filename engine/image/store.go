//go:build linux

// Package image keeps the images of one node: it pulls, loads, imports, saves, names and removes them.
//
// Store is the main type. It keeps blobs in a content.Store, unpacked layers in a snapshot.Snapshotter, and in a
// small database of its own which names mean which image and what belongs to it. What nothing belongs to is swept.
// It does not run containers (it asks Config.InUse who needs an image) and does not build images from Dockerfiles.
package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"

	"github.com/shoal-dev/shoal/engine/content"
	"github.com/shoal-dev/shoal/engine/snapshot"
)

// Errors that callers branch on.
var (
	ErrNotFound  = errors.New("no such image")
	ErrAmbiguous = errors.New("ambiguous image ID")
	ErrInUse     = errors.New("image is in use")
	ErrInvalid   = errors.New("invalid") // what the caller gave cannot be right
)

// Config is what a Store is made of.
type Config struct {
	Dir       string // for images.db
	Content   *content.Store
	Snapshots snapshot.Snapshotter
	Logger    *slog.Logger // nil: slog.Default

	// InUse names the containers that use an image; nil: none ever do. It is called without locks held.
	InUse func(imageID string) []string
	// Notify hears of pull, load, import, tag, untag, delete and save, after the fact; nil: nobody does.
	Notify func(action, id, name string)
	// Platform is taken from images for several; empty: this machine's.
	Platform Platform
	// Transport connects to registries; nil: a plain HTTP transport.
	Transport http.RoundTripper
	Retry     Retry // zero: five attempts within some ten seconds
	// FaultPoint, if set, is called between any two steps, where a crash is tested.
	FaultPoint func(name string)
}

// Platform is an operating system and architecture in Go's names.
type Platform struct{ OS, Architecture string }

// Store keeps images. Safe for concurrent use.
type Store struct {
	Config
	db *bolt.DB

	// gc is held for reading while something new is recorded and let go of, for writing by the sweep: what is
	// recorded meanwhile could be taken for garbage.
	gc     sync.RWMutex
	leases leases
	// slots bounds how many layers are fetched and unpacked at once.
	slots chan struct{}
}

// Open opens or makes the image store in c.Dir.
func Open(c Config) (*Store, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.InUse == nil {
		c.InUse = func(string) []string { return nil }
	}
	if c.FaultPoint == nil {
		c.FaultPoint = func(string) {}
	}
	if c.Notify == nil {
		c.Notify = func(string, string, string) {}
	}
	if c.Platform == (Platform{}) {
		c.Platform = Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	if c.Transport == nil {
		c.Transport = newTransport()
	}
	if c.Retry == (Retry{}) {
		c.Retry = Retry{Attempts: 5, First: 300 * time.Millisecond, Longest: 5 * time.Second}
	}
	db, err := openDB(filepath.Join(c.Dir, "images.db"))
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	s := &Store{Config: c, db: db, slots: make(chan struct{}, max(3, runtime.NumCPU()))}
	s.leases.held = map[string]int{}
	return s, nil
}

// Close closes the database. Nothing may be under way.
func (s *Store) Close() error { return s.db.Close() }

// slot waits for a turn at fetching or unpacking.
func (s *Store) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// record is an image as the database keeps it.
type record struct {
	ID        digest.Digest // of the config blob
	Manifest  digest.Digest
	MediaType string // of the manifest
	Created   time.Time
	Platform  Platform
	Layers    []layerRecord
}

// layerRecord is a layer of an image, base first.
type layerRecord struct {
	MediaType string
	Blob      digest.Digest
	BlobSize  int64
	DiffID    digest.Digest // of the uncompressed tar
	ChainID   digest.Digest // of this layer and all below: the snapshot's key
	Size      int64         // bytes in unpacked files
}
