//go:build linux

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// state is what a node must remember of its membership beside its certificate: DATA-DIR/cluster.json, mode 0600,
// written by rename. It holds no secret.
type state struct {
	ListenAddr    string   `json:"listenAddr"`    // HOST:PORT of the cluster port
	AdvertiseAddr string   `json:"advertiseAddr"` // IP by which others reach this node
	DataPathAddr  string   `json:"dataPathAddr"`  // IP of the VTEP
	DataPathPort  uint32   `json:"dataPathPort"`
	Managers      []string `json:"managers"` // HOST:PORT, to ask first after a restart
	// RaftAddr is set once this manager is a member of the Raft configuration.
	RaftJoined bool `json:"raftJoined,omitempty"`
}

func loadState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", filepath.Join(dir, "cluster.json"), err)
	}
	return s, nil
}

func (s state) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "cluster.json"), append(b, '\n'))
}

// writeFile leaves the old content or the new one, whatever happens meanwhile.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
