//go:build linux

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/shoal-dev/shoal/internal/durable"
)

// state is what a node must remember of its membership beside its certificate: DATA-DIR/cluster.json, mode 0600,
// written by rename. It holds no secret. The file is there from the end of the first contact until all else is gone.
type state struct {
	ListenAddr    string   `json:"listenAddr"`    // HOST:PORT of the cluster port
	AdvertiseAddr string   `json:"advertiseAddr"` // IP by which others reach this node
	DataPathAddr  string   `json:"dataPathAddr"`  // IP of the VTEP
	DataPathPort  uint32   `json:"dataPathPort"`
	Managers      []string `json:"managers"` // HOST:PORT, to ask first after a restart
	// AdvertiseWish is what the user wrote for the address at init or join: a node that was told none follows its host.
	AdvertiseWish string `json:"advertiseWish,omitempty"`
	// Leaving says that the membership has ended and that what is left of it is to be removed.
	Leaving bool `json:"leaving,omitempty"`
}

func statePath(dir string) string { return filepath.Join(dir, "cluster.json") }

// loadState returns an error that is fs.ErrNotExist outside a cluster.
func loadState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(statePath(dir))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", statePath(dir), err)
	}
	return s, nil
}

func (s state) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(statePath(dir), append(b, '\n'), 0o600)
}

// markLeaving makes a leave that is cut short go on at the next start. Without a state there is nothing to mark.
func markLeaving(dir string) (state, error) {
	s, err := loadState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	s.Leaving = true // also over a file that cannot be read: it is to go
	return s, s.save(dir)
}
