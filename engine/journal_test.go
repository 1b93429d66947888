//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestWatch(t *testing.T) {
	l := openLab(t)
	begin := time.Now()
	r := request("one", "exit 3")
	r.Spec.Labels = map[string]string{"l": "1"}
	r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Source: "vol", Target: "/data"}}
	row := l.ended(l.run(r))
	ran := fmt.Sprint(int(row.FinishedAt.AsTime().Sub(row.StartedAt.AsTime()).Seconds()))
	if err := l.Remove(l.ctx(), "one", false, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Images().Tag(l.ctx(), "box:1", "box:2"); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveVolume(l.ctx(), "vol", false); err != nil {
		t.Fatal(err)
	}
	var got []string
	var die *api.Event
	err := l.Watch(l.ctx(), begin, time.Now(), func(ev *api.Event) error {
		got = append(got, ev.Type+" "+ev.Action)
		if ev.Action == "die" {
			die = ev
		}
		return nil
	})
	want := []string{"volume create", "container create", "volume mount", "container start", "container die", "volume unmount", "container destroy", "image tag", "volume destroy"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if a := die.GetAttributes(); a["exitCode"] != "3" || a["name"] != "one" || a["image"] != "box:1" || a["l"] != "1" || a["execDuration"] != ran {
		t.Errorf("die has %v", a)
	}
	// What comes is told, what has been is not, unless it is asked for.
	ctx, stop := context.WithCancel(l.ctx())
	var next []string
	done := make(chan error, 1)
	ready := make(chan bool, 1)
	go func() {
		_, _, drop := l.journal.follow()
		drop()
		ready <- true
		done <- l.Watch(ctx, time.Time{}, time.Time{}, func(ev *api.Event) error {
			next = append(next, ev.Action)
			stop()
			return nil
		})
	}()
	<-ready
	enginetest.Until(t, "an event has been read", func() bool {
		l.announce(aboutImage, "pull", "x", nil)
		return ctx.Err() != nil
	})
	if err := <-done; !errors.Is(err, context.Canceled) || len(next) == 0 || next[0] != "pull" {
		t.Errorf("%v, %v", next, err)
	}
}

func TestJournalBounds(t *testing.T) {
	var j journal
	_, slow, stop := j.follow()
	defer stop()
	for i := range journalSize + eventBuffer + 1 {
		j.add(&api.Event{Id: fmt.Sprint(i), Time: timestamppb.Now()})
	}
	last, _, stop2 := j.follow()
	defer stop2()
	if len(last) != journalSize || last[journalSize-1].Id != fmt.Sprint(journalSize+eventBuffer) {
		t.Errorf("%d events are kept", len(last))
	}
	n := 0
	for range slow { // ends: a slow reader is cut off
		n++
	}
	if n != eventBuffer {
		t.Errorf("the slow reader got %d", n)
	}
}
