//go:build linux

package enginetest

import (
	"testing"
	"time"

	"github.com/shoal-dev/shoal/internal/poll"
)

// Until polls for a condition, at most 20 seconds.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll.Until(20*time.Second, ok) {
		t.Fatalf("waited 20s in vain until %s", what)
	}
}
