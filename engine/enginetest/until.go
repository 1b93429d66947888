//go:build linux

package enginetest

import (
	"testing"
	"time"
)

// Until polls for a condition, at most 20 seconds.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited 20s in vain until %s", what)
		}
	}
}
