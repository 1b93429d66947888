//go:build linux

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// row is a volume on disk.
type row struct {
	Name      string            `json:"name"`
	Driver    string            `json:"driver"`
	Created   time.Time         `json:"created"`
	Labels    map[string]string `json:"labels,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	Anonymous bool              `json:"anonymous,omitempty"`
	Scope     string            `json:"scope,omitempty"`
	MountID   string            `json:"mount_id"`
	// Half is set before the driver makes or removes the volume. Nobody sees such a volume; see finishHalf.
	Half half `json:"half,omitempty"`
}

type half string

func (r *row) volume() Volume { return Volume{Name: r.Name, Options: r.Options, MountID: r.MountID} }

func (s *Store) rowFile(name string) string { return filepath.Join(s.dir, name, "volume.json") }

// load reads a row, also one that is half.
func (s *Store) load(name string) (*row, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	r := &row{}
	err := readJSON(s.rowFile(name), r)
	if st, e := os.Stat(s.rowFile(name)); e == nil && st.Size() == 0 {
		err = fs.ErrNotExist // a power cut while it was made: it is synced before anybody hears of the volume
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", name, err)
	}
	if r.Driver == "" { // written before there were others
		r.Driver = DriverLocal
	}
	return r, nil
}

// read reads a volume that is whole.
func (s *Store) read(name string) (*row, error) {
	r, err := s.load(name)
	if err == nil && r.Half != "" {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	return r, err
}

// rows reads without locks: a row is replaced in one step. One that cannot be read does not hide the others.
func (s *Store) rows() ([]*row, error) {
	entries, err := os.ReadDir(s.dir) // sorted
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var rows []*row
	for _, e := range entries {
		if checkName(e.Name()) != nil || !e.IsDir() {
			continue // not a volume
		}
		r, err := s.load(e.Name())
		switch {
		case err == nil:
			rows = append(rows, r)
		case !errors.Is(err, ErrNotFound): // removed meanwhile, or somebody else's directory
			s.opts.Logger.Error("a volume's description cannot be read", "volume", e.Name(), "error", err)
		}
	}
	return rows, nil
}

const (
	making   half = "making"
	removing half = "removing"
)
