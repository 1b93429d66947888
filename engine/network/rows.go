//go:build linux

package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/proto/api"
)

// load reads the networks and adds those that are always there.
func (m *Manager) load() error {
	if err := m.readRows(); err != nil {
		return fmt.Errorf("open networks: %w", err)
	}
	for _, name := range []string{Host, None} {
		n := &api.LocalNetwork{Id: builtinID(name), Name: name, Driver: name}
		m.networks[n.Id] = n
	}
	if m.byName(Bridge) != nil {
		return nil
	}
	n := &api.LocalNetwork{Id: id.NewHex(), Name: Bridge, Driver: Bridge, Ipv6: m.ipv6, Bridge: defaultBridge}
	return m.addLocked(n)
}

// readRows reads all files, after what a crash left half written is gone.
func (m *Manager) readRows() error {
	if err := os.MkdirAll(m.cfg.Dir, 0o710); err != nil {
		return err
	}
	unfinished, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*"+durable.UnfinishedExt))
	if err != nil {
		return err
	}
	for _, file := range unfinished {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(m.cfg.Dir, "*.pb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := m.readRow(file); err != nil {
			return err
		}
	}
	return nil
}

// readRow sets a damaged file aside: one network less must not keep all containers of this host from running.
func (m *Manager) readRow(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	n := &api.LocalNetwork{}
	if err := proto.Unmarshal(data, n); err != nil || n.Id == "" {
		m.log.Error("a network is lost, its description is damaged: make it anew", "network", filepath.Base(file), "kept", file+damagedExt)
		return os.Rename(file, file+damagedExt)
	}
	m.networks[n.Id] = n
	return nil
}

// write makes a network's file. It is on disk before it has its name, and has its name before anybody hears of the network: a
// power cut leaves all of it or nothing.
func (m *Manager) write(nid string, data []byte) error {
	tmp, err := durable.Prepare(m.file(nid), data, 0o600)
	if err != nil {
		return err
	}
	m.cfg.FaultPoint("network.written")
	return durable.Rename(tmp, m.file(nid))
}

func (m *Manager) file(nid string) string { return filepath.Join(m.cfg.Dir, nid+".pb") }

// damagedExt ends the name of a file that was found damaged.
const damagedExt = ".damaged"

func builtinID(name string) string {
	sum := sha256.Sum256([]byte("shoal local network " + name))
	return hex.EncodeToString(sum[:])
}

// addLocked fills in the subnets and writes the network down.
func (m *Manager) addLocked(n *api.LocalNetwork) error {
	busy, err := m.busyPrefixes()
	if err != nil {
		return err
	}
	if n.Driver != Bridge { // they are on the parent's own network, which this host has a route to
		busy = m.ownPrefixes()
	}
	if n.Ipam, err = chooseSubnets(n, busy); err != nil {
		return err
	}
	data, err := proto.Marshal(n)
	if err != nil {
		return err
	}
	if err := m.write(n.Id, data); err != nil {
		return fmt.Errorf("write network: %w", err)
	}
	m.cfg.FaultPoint("network.row")
	m.networks[n.Id] = n
	return nil
}
