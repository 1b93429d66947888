//go:build linux

package container

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// placeholders are what {{...}} may name in a service's hostname, environment and mount sources.
func placeholders(t *api.Task, n Node) map[string]string {
	return map[string]string{
		".Service.ID":    t.ServiceId,
		".Service.Name":  t.ServiceName,
		".Task.ID":       t.Id,
		".Task.Name":     Name(t),
		".Task.Slot":     strconv.FormatUint(t.Slot, 10),
		".Node.ID":       n.ID,
		".Node.Hostname": n.Hostname,
	}
}

// expand replaces the placeholders in s. An unknown one is refused: what would be left in place helps nobody.
func expand(s string, values map[string]string) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return "", fmt.Errorf("template %q has no closing }}", "{{"+rest)
		}
		value, known := values[strings.TrimSpace(name)]
		if !known {
			return "", fmt.Errorf("template {{%s}} is not known; there are %s", name,
				strings.Join(slices.Sorted(maps.Keys(values)), ", "))
		}
		out.WriteString(value)
		s = after
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
