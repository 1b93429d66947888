package poll

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, looks := time.Now(), 0
		if !Until(time.Second, func() bool { looks++; return looks == 5 }) || time.Since(begun) != 4*every {
			t.Errorf("%d looks in %v", looks, time.Since(begun))
		}
		begun = time.Now()
		if Until(time.Second, func() bool { return false }) || time.Since(begun) != time.Second {
			t.Errorf("gave up after %v", time.Since(begun))
		}
	})
}
