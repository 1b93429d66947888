//go:build linux

package thread

import (
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
