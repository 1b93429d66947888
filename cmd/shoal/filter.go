package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// filters is the value of --filter: key=value, repeated. Different keys must all hold, of one key any value.
type filters struct {
	allowed []string
	values  map[string][]string
}

func (f *filters) String() string { return "" }
func (f *filters) Type() string   { return "filter" }

// Set reads one key=value and refuses keys that the verb does not know.
func (f *filters) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("bad format of filter (expected name=value)")
	}
	key = strings.ToLower(strings.TrimSpace(key))
	if !slices.Contains(f.allowed, key) {
		return fmt.Errorf("unknown filter %q: use one of %s", key, strings.Join(f.allowed, ", "))
	}
	if f.values == nil {
		f.values = map[string][]string{}
	}
	f.values[key] = append(f.values[key], strings.TrimSpace(value))
	return nil
}

// exact: the value is one of those asked for, or none was asked.
func (f *filters) exact(key, have string) bool {
	return f.any(key, func(want string) bool { return want == have })
}

// prefix is for IDs.
func (f *filters) prefix(key, have string) bool {
	return f.any(key, func(want string) bool { return strings.HasPrefix(have, want) })
}

// contains is for names.
func (f *filters) contains(key, have string) bool {
	return f.any(key, func(want string) bool { return strings.Contains(have, want) })
}

// matches is for names that Docker matches with regular expressions: equal, or the expression is found in it. What is no expression matches
// nothing but itself.
func (f *filters) matches(key, have string) bool {
	return f.any(key, func(want string) bool {
		if want == have {
			return true
		}
		re, err := regexp.Compile(want)
		return err == nil && re.MatchString(have)
	})
}

// labels is for key or key=value; all of them must hold.
func (f *filters) labels(key string, have map[string]string) bool {
	for _, want := range f.values[key] {
		k, v, withValue := strings.Cut(want, "=")
		got, ok := have[k]
		if !ok || withValue && got != v {
			return false
		}
	}
	return true
}

func (f *filters) any(key string, match func(want string) bool) bool {
	values := f.values[key]
	return len(values) == 0 || slices.ContainsFunc(values, match)
}

// boolean reads a filter such as dangling=true.
func (f *filters) boolean(key string) (value, set bool, err error) {
	for _, s := range f.values[key] {
		switch s {
		case "true", "1":
			value = true
		case "false", "0":
			value = false
		default:
			return false, false, fmt.Errorf("filter %s=%s: use true or false", key, s)
		}
		set = true
	}
	return value, set, nil
}

// oneOf refuses values that a filter cannot have.
func (f *filters) oneOf(key string, allowed ...string) error {
	for _, v := range f.values[key] {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("filter %s=%s: use one of %s", key, v, strings.Join(allowed, ", "))
		}
	}
	return nil
}
