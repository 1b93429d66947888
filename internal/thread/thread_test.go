//go:build linux

package thread

import (
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestNeverTheFirst(t *testing.T) {
	var first, other sync.Map
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			id := Spend(syscall.Gettid)
			if id == syscall.Getpid() {
				first.Store(id, true)
			}
			other.Store(id, true)
		})
	}
	all.Wait()
	if _, bad := first.Load(syscall.Getpid()); bad {
		t.Error("the first thread was spent")
	}
	n := 0
	other.Range(func(any, any) bool { n++; return true })
	if n < 2 {
		t.Errorf("%d threads were spent, want one each time", n)
	}
}

// A panic comes out where Spend was called, so that a request's handler fails and not the process.
func TestPanicIsTheCallers(t *testing.T) {
	for range 20 {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(r.(error).Error(), "broken") {
					t.Errorf("recovered %v", r)
				}
			}()
			Spend(func() int { panic("broken") })
			t.Error("Spend has returned")
		}()
	}
}
