//go:build linux

package network

import (
	"context"
	"fmt"
	"testing"
)

// TestAddressIsFreeAtOnce: whoever gets the address of one that has just gone is reached by it, though the kernel still
// has the other's interface; and one that comes back at once comes back whole.
func TestAddressIsFreeAtOnce(t *testing.T) {
	l := newLab(t)
	one := l.run("one", []string{"bridge"})
	was := l.address("one", 0)
	l.host.wantAnswer("tcp", was+":80", "one")
	for i := range 5 {
		l.stop("one")
		next := fmt.Sprint("next", i)
		l.run(next, []string{"bridge"})
		if now := l.address(next, 0); now != was {
			t.Fatalf("%s has %s, want the address that is free, %s", next, now, was)
		}
		l.host.wantAnswer("tcp", was+":80", next)
		l.stop(next)
		if err := l.try("one", one.path, []string{"bridge"}); err != nil {
			t.Fatal(err)
		}
		l.host.wantAnswer("tcp", l.address("one", 0)+":80", "one")
	}
	l.stop("one")
	if err := l.m.Reconcile(context.Background(), func() []Attachment { return nil }); err != nil {
		t.Fatal(err)
	}
	l.m.background.Wait()
	l.wantNothingLeft()
}
