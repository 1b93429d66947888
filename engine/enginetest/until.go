//go:build linux

package enginetest

import (
	"testing"
	"time"

	"github.com/shoal-dev/shoal/internal/poll"
)

// patience is long for an emulated machine that has other things to do as well; on others all comes within a second or two.
const patience = time.Minute

// Until polls for a condition, at most a minute.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll.Until(patience, ok) {
		t.Fatalf("waited %s in vain until %s", patience, what)
	}
}
