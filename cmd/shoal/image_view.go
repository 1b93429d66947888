package main

import (
	"fmt"
	"io"
	"strings"

	units "github.com/docker/go-units"

	"github.com/shoal-dev/shoal/proto/api"
)

// imageView shows the progress of a pull, load or import: every layer's line rewritten in place on a
// terminal, a line for each new status elsewhere.
type imageView struct {
	w      io.Writer
	quiet  bool
	live   bool
	width  int
	order  []string          // layers in the order they appeared
	status map[string]string // of each layer, last shown
	last   string            // the status of the whole that was shown last: it comes again while a long file is read
}

func newImageView(w io.Writer, quiet bool) *imageView {
	_, live := terminalOf(w)
	return &imageView{w: w, quiet: quiet, live: live, width: width(w, 80), status: map[string]string{}}
}

func (v *imageView) show(m *api.ImageProgress) {
	if v.quiet || m.Status == "" {
		return
	}
	if m.Id == "" && m.Status == v.last {
		return
	}
	if v.last = ""; m.Id == "" {
		v.last = m.Status
		fmt.Fprintln(v.w, m.Status)
		v.order, v.status = nil, map[string]string{} // what stands above this line stays as it is
		return
	}
	if v.live {
		v.redraw(m)
		return
	}
	if v.status[m.Id] != m.Status {
		v.status[m.Id] = m.Status
		fmt.Fprintf(v.w, "%s: %s\n", m.Id, m.Status)
	}
}

// redraw writes the layer's line, going up to it if it is there already.
func (v *imageView) redraw(m *api.ImageProgress) {
	if _, ok := v.status[m.Id]; !ok {
		v.order = append(v.order, m.Id)
		v.status[m.Id] = ""
		fmt.Fprintln(v.w)
	}
	up := 0
	for i, id := range v.order {
		if id == m.Id {
			up = len(v.order) - i
		}
	}
	fmt.Fprintf(v.w, "\x1b[%dA\r%s\x1b[K\x1b[%dB\r", up, ellipsis(layerLine(m), v.width), up)
}

func layerLine(m *api.ImageProgress) string {
	line := m.Id + ": " + m.Status
	if m.Total <= 0 || m.Current >= m.Total && m.Current == 0 {
		return line
	}
	const wide = 50
	done := int(min(m.Current, m.Total) * wide / m.Total)
	bar := strings.Repeat("=", done) + ">"
	return fmt.Sprintf("%s [%-*s] %s/%s", line, wide+1, bar, units.HumanSize(float64(m.Current)), units.HumanSize(float64(m.Total)))
}
