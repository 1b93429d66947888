package main

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
)

// equalAny tells whether the first argument equals one of the others.
func equalAny(args []any) (any, error) {
	if len(args) < 2 {
		return nil, errArguments
	}
	for _, other := range args[1:] {
		if args[0] == nil || other == nil {
			if args[0] == other {
				return true, nil
			}
			continue
		}
		c, err := compareValues(args[0], other)
		if err != nil {
			return nil, err
		}
		if c == 0 {
			return true, nil
		}
	}
	return false, nil
}

func ordering(ok func(int) bool) templateFunc {
	return func(args []any) (any, error) {
		if len(args) != 2 {
			return nil, errArguments
		}
		c, err := compareValues(args[0], args[1])
		return ok(c), err
	}
}

// compareValues compares texts with texts, numbers with numbers and truths with truths.
func compareValues(a, b any) (int, error) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	switch {
	case x.Kind() == reflect.String && y.Kind() == reflect.String:
		return compareText(x.String(), y.String()), nil
	case x.Kind() == reflect.Bool && y.Kind() == reflect.Bool:
		if x.Bool() == y.Bool() {
			return 0, nil
		}
		return 1, nil
	case x.CanInt() && y.CanInt():
		return cmp.Compare(x.Int(), y.Int()), nil
	case x.CanUint() && y.CanUint():
		return cmp.Compare(x.Uint(), y.Uint()), nil
	case isNumber(x) && isNumber(y):
		return cmp.Compare(asFloat(x), asFloat(y)), nil
	}
	return 0, fmt.Errorf("can't compare %s with %s", printed(a), printed(b))
}

func isNumber(v reflect.Value) bool { return v.CanInt() || v.CanUint() || v.CanFloat() }

func asFloat(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return v.Float()
}

func compareText(a, b string) int { return strings.Compare(a, b) }
