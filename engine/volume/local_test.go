//go:build linux

package volume_test

import (
	"os"
	"testing"

	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/engine/volume/volumetest"
)

func TestLocalConforms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting needs root")
	}
	bad := map[string]string{"type": "tmpfs", "color": "blue"}
	dir := t.TempDir()
	volumetest.Run(t, volumetest.Harness{
		Open: func(*testing.T) volume.Driver { return volume.NewLocal(dir) }, Bad: bad, Scope: "local",
	})
}
