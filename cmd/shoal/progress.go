package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// progressWriter shows moments of a convergence.
type progressWriter interface {
	show(p progress)
	end(p progress)
}

// newProgressWriter: nothing when quiet, a live view on a terminal, lines elsewhere.
func (c *cli) newProgressWriter(quiet bool) progressWriter {
	if quiet {
		return silent{}
	}
	if _, ok := terminalOf(c.out); ok {
		return &liveProgress{w: c.out, width: width(c.out, 80)}
	}
	return &plainProgress{w: c.out, said: map[string]bool{}}
}

type silent struct{}

func (silent) show(progress) {}
func (silent) end(progress)  {}

func (p progress) overall() string {
	return fmt.Sprintf("overall progress: %d out of %d tasks", p.running, p.wanted)
}

const converged = "verify: Service converged"

// plainProgress prints a line for everything that is new.
type plainProgress struct {
	w    io.Writer
	last string
	said map[string]bool
}

func (w *plainProgress) show(p progress) {
	if s := p.overall(); s != w.last {
		w.last = s
		fmt.Fprintln(w.w, s)
	}
	w.once(p.note)
	for _, l := range p.lines {
		if l.reason != "" {
			w.once(l.name + ": " + l.reason)
		}
	}
}

func (w *plainProgress) once(s string) {
	if s != "" && !w.said[s] {
		w.said[s] = true
		fmt.Fprintln(w.w, s)
	}
}

func (w *plainProgress) end(p progress) {
	if p.err == nil {
		fmt.Fprintln(w.w, converged)
	}
}

// maxLiveLines is how many tasks are shown one by one; Docker's figure.
const maxLiveLines = 20

// liveProgress draws the same lines again and again.
type liveProgress struct {
	w     io.Writer
	width int
	drawn int
	last  string
}

func (w *liveProgress) show(p progress) {
	lines := []string{p.overall()}
	if p.note != "" {
		lines = append(lines, p.note)
	}
	if len(p.lines) <= maxLiveLines {
		for _, l := range p.lines {
			lines = append(lines, l.draw())
		}
	} else {
		lines = append(lines, troubles(p.lines)...)
	}
	w.draw(lines)
}

// draw goes back over what it drew before. \x1b[K clears to the end of the line, \x1b[J what is left below.
func (w *liveProgress) draw(lines []string) {
	all := strings.Join(lines, "\n")
	if all == w.last {
		return // what changed is not in view
	}
	w.last = all
	var b strings.Builder
	if w.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", w.drawn)
	}
	for _, l := range lines {
		fmt.Fprintf(&b, "\r%s\x1b[K\n", ellipsis(l, w.width))
	}
	b.WriteString("\x1b[J")
	w.drawn = len(lines)
	io.WriteString(w.w, b.String())
}

func (w *liveProgress) end(p progress) {
	if p.err == nil {
		fmt.Fprintln(w.w, converged)
	}
}

// troubles are the different reasons of many tasks, counted.
func troubles(lines []taskLine) []string {
	counts := map[string]int{}
	var order []string
	for _, l := range lines {
		if l.reason == "" {
			continue
		}
		if counts[l.reason]++; counts[l.reason] == 1 {
			order = append(order, l.reason)
		}
	}
	var out []string
	for _, r := range order[:min(len(order), 5)] {
		out = append(out, fmt.Sprintf("%s: %s", count(counts[r], "task"), r))
	}
	return out
}

// ladder are the steps of a task on its way up, for the bar.
var ladder = []api.TaskState{
	api.TaskState_NEW, api.TaskState_PENDING, api.TaskState_ASSIGNED, api.TaskState_ACCEPTED,
	api.TaskState_PREPARING, api.TaskState_READY, api.TaskState_STARTING, api.TaskState_RUNNING,
}

func (l taskLine) draw() string {
	const wide = 50
	done := 0
	for i, s := range ladder {
		if l.state == s {
			done = (i + 1) * wide / len(ladder)
		}
	}
	state := lower(l.state)
	if l.reason != "" {
		return fmt.Sprintf("%s: %-9s %s", l.name, state, l.reason)
	}
	bar := strings.Repeat("=", done) + ">"
	return fmt.Sprintf("%s: %-9s [%-*s]", l.name, state, wide+1, bar)
}
