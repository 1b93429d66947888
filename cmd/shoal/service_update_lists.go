package main

import (
	"maps"
	"slices"
	"strings"
)

// editList removes by key and then adds; what has the key of an added one is replaced.
func editList[T any](list []T, rm []string, add []T, key func(T) string) []T {
	out := slices.DeleteFunc(slices.Clone(list), func(v T) bool {
		k := key(v)
		return slices.Contains(rm, k) || slices.ContainsFunc(add, func(a T) bool { return key(a) == k })
	})
	if len(out)+len(add) == 0 {
		return nil
	}
	return append(out, add...)
}

func editMap(m map[string]string, rm []string, add map[string]string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	for _, k := range rm {
		delete(out, k)
	}
	maps.Copy(out, add)
	if len(out) == 0 {
		return nil
	}
	return out
}

// editCaps: what is added is no longer dropped, and the other way round.
func editCaps(adds, drops, add, drop []string) (newAdds, newDrops []string) {
	return editList(adds, drop, add, whole), editList(drops, add, drop, whole)
}

func whole(s string) string { return s }

func beforeEqual(s string) string {
	name, _, _ := strings.Cut(s, "=")
	return name
}

// noSpaces makes "node.role == manager" and "node.role==manager" the same constraint.
func noSpaces(s string) string { return strings.ReplaceAll(s, " ", "") }
