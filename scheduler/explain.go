package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// failures are nodes that cannot take a task, by filter and reason.
type failures struct {
	by    map[failure][]*node
	total int
}

type failure struct {
	filter int
	why    string
}

func (f *failures) add(filter int, why string, n *node) {
	if f.by == nil {
		f.by = map[failure][]*node{}
	}
	k := failure{filter, why}
	f.by[k] = append(f.by[k], n)
	f.total++
}

// text is the sentence for a person: reasons with the number of nodes, most nodes first.
func (f *failures) text(fs []filter) string {
	if f.total == 0 {
		return "no suitable node (the cluster has no nodes)"
	}
	type line struct {
		nodes int
		text  string
	}
	var lines []line
	for k, nodes := range f.by {
		lines = append(lines, line{len(nodes), fs[k.filter].explain(k.why, nodes)})
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(b.nodes, a.nodes), cmp.Compare(a.text, b.text))
	})
	parts := make([]string, len(lines))
	for i, l := range lines {
		unit := "nodes"
		if l.nodes == 1 {
			unit = "node"
		}
		parts[i] = fmt.Sprintf("%d %s: %s", l.nodes, unit, l.text)
	}
	return "no suitable node (" + strings.Join(parts, "; ") + ")"
}

func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strconv.FormatFloat(round(v), 'f', -1, 64) + " " + units[i]
}

func cpuText(nano int64) string {
	unit := " CPUs"
	if nano == 1e9 {
		unit = " CPU"
	}
	return strconv.FormatFloat(round(float64(nano)/1e9), 'f', -1, 64) + unit
}

// round keeps one decimal place below ten and two below one, downward: a free amount must not look larger than it is.
func round(v float64) float64 {
	scale := 1.0
	switch {
	case v < 1:
		scale = 100
	case v < 10:
		scale = 10
	}
	return float64(int64(v*scale)) / scale
}
