//go:build linux

package engine

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// pruneFilters say what may be pruned: all that is asked for must hold.
type pruneFilters struct {
	labels, without []string // KEY or KEY=VALUE
	until           time.Time
}

// parsePruneFilters reads label=KEY[=VALUE], label!=KEY[=VALUE] and until=TIME, which is a duration back from now, a date or
// seconds since 1970.
func parsePruneFilters(list []string) (*pruneFilters, error) {
	f := &pruneFilters{}
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		switch {
		case !ok || value == "":
			return nil, errorf(ErrInvalid, "filter %q is not KEY=VALUE", s)
		case key == "label":
			f.labels = append(f.labels, value)
		case key == "label!":
			f.without = append(f.without, value)
		case key == "until" && f.until.IsZero():
			t, err := parseUntil(value, time.Now())
			if err != nil {
				return nil, err
			}
			f.until = t
		case key == "until":
			return nil, errorf(ErrInvalid, "the filter until can be given only once")
		default:
			return nil, errorf(ErrInvalid, "unknown filter %q: use label, label! or until", key)
		}
	}
	return f, nil
}

func parseUntil(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && seconds >= 0 && seconds < 1e11 {
		return time.UnixMicro(int64(seconds * 1e6)), nil
	}
	return time.Time{}, errorf(ErrInvalid, "filter until=%s is no time: use one such as 2026-01-02T13:23:37Z or a duration such as 24h", s)
}

func (f *pruneFilters) match(labels map[string]string, created *timestamppb.Timestamp) bool {
	if !f.until.IsZero() && !created.AsTime().Before(f.until) {
		return false
	}
	for _, want := range f.labels {
		if !hasLabel(labels, want) {
			return false
		}
	}
	for _, not := range f.without {
		if hasLabel(labels, not) {
			return false
		}
	}
	return true
}

func hasLabel(labels map[string]string, want string) bool {
	key, value, withValue := strings.Cut(want, "=")
	have, ok := labels[key]
	return ok && (!withValue || have == value)
}
