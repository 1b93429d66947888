//go:build linux

package engine

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestFilesOfManyWriters: the reconciliation writes a container's /etc/hosts while it is connected to a network, and whoever it
// links to is renamed.
func TestFilesOfManyWriters(t *testing.T) {
	l := openLab(t)
	c, err := l.find(l.run(request("", "sleep 1000")))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := os.WriteFile(filepath.Join(c.dir, etcSums), []byte("of other texts\n"), rowFilePerm); err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { errs[i] = l.refreshEtc(c) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
}
