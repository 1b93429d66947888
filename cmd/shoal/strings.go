package main

import (
	"fmt"
	"sort"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// count is "1 argument", "2 arguments".
func count(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// shortHex is the twelve characters of a digest or a container's ID that tables show.
func shortHex(id string) string {
	_, hex, found := strings.Cut(id, ":")
	if !found {
		hex = id
	}
	return cut(hex, 12)
}

// shortID is a cluster object's ID in tables.
func shortID(id string) string { return cut(id, 12) }

// cut keeps the first n bytes.
func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// ellipsis cuts a text to n characters, the last of them an ellipsis.
func ellipsis(s string, n int) string {
	r := []rune(s)
	if len(r) <= n || n < 2 {
		return s
	}
	return string(r[:n-1]) + "…"
}

// ago is "5 minutes ago"; empty for no time.
func ago(t *timestamppb.Timestamp) string {
	if isZero(t) {
		return ""
	}
	return units.HumanDuration(max(0, time.Since(t.AsTime()))) + " ago"
}

// stamp is a moment as tables show it; empty for no time.
func stamp(t *timestamppb.Timestamp) string {
	if isZero(t) {
		return ""
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05 -0700 MST")
}

// rfc3339 is a moment as inspect shows it.
func rfc3339(t *timestamppb.Timestamp) string {
	if isZero(t) {
		return "0001-01-01T00:00:00Z"
	}
	return t.AsTime().UTC().Format(time.RFC3339Nano)
}

func isZero(t *timestamppb.Timestamp) bool {
	return t == nil || t.Seconds == 0 && t.Nanos == 0
}

// labelText is "a=1,b=2", sorted.
func labelText(m map[string]string) string {
	return strings.Join(sortedPairs(m), ",")
}

func sortedPairs(m map[string]string) []string {
	pairs := make([]string, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return pairs
}

// lower is an enum's value as people write it: START_FIRST is start-first. Prefixes that only keep the names of
// different enums apart are left out.
func lower(v fmt.Stringer) string {
	s := strings.ReplaceAll(strings.ToLower(v.String()), "_", "-")
	for _, prefix := range []string{"fail-", "container-"} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// orEmptyMap keeps null out of JSON.
func orEmptyMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
