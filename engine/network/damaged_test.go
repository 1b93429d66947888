//go:build linux

package network

import (
	"errors"
	"os"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestDamagedNetwork: a power cut may leave a file empty that was never synced. The others are there all the same, and so is the
// default bridge.
func TestDamagedNetwork(t *testing.T) {
	l := newLab(t)
	whole, err := l.m.Create(t.Context(), &api.LocalNetwork{Name: "whole"})
	if err != nil {
		t.Fatal(err)
	}
	torn, err := l.m.Create(t.Context(), &api.LocalNetwork{Name: "torn"})
	if err != nil {
		t.Fatal(err)
	}
	bridge, err := l.m.Get(Bridge)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*api.LocalNetwork{torn, bridge} {
		if err := os.Truncate(l.m.file(n.Id), 0); err != nil {
			t.Fatal(err)
		}
	}
	m := l.open(l.m.cfg.Dir)
	if n, err := m.Get("whole"); err != nil || n.Id != whole.Id {
		t.Errorf("the whole network: %v, %v", n, err)
	}
	if n, err := m.Get(Bridge); err != nil || n.Id == bridge.Id {
		t.Errorf("the default bridge: %v, %v", n, err)
	}
	if _, err := m.Get("torn"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the torn network: %v", err)
	}
	if _, err := os.Stat(l.m.file(torn.Id) + damagedExt); err != nil {
		t.Error(err)
	}
	l.open(l.m.cfg.Dir) // and once more
}
