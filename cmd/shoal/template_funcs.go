package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// templateFunc gets its arguments evaluated.
type templateFunc = func(args []any) (any, error)

// templateFuncs are Go's own and those that Docker adds.
func templateFuncs() map[string]templateFunc {
	return map[string]templateFunc{
		"json":     one(func(v any) (any, error) { return templateJSON(v) }),
		"split":    text2(func(s, sep string) any { return strings.Split(s, sep) }),
		"join":     joinFunc,
		"title":    text1(titleWords),
		"lower":    text1(strings.ToLower),
		"upper":    text1(strings.ToUpper),
		"pad":      padFunc,
		"truncate": truncateFunc,
		"label":    labelFunc,

		"html":     escaped(escapeHTML),
		"js":       escaped(escapeJS),
		"urlquery": escaped(escapeURL),

		"and":     lastArg,
		"or":      lastArg,
		"not":     one(func(v any) (any, error) { return !truth(v), nil }),
		"len":     one(length),
		"index":   index,
		"slice":   sliceFunc,
		"print":   func(args []any) (any, error) { return fmt.Sprint(args...), nil },
		"println": func(args []any) (any, error) { return fmt.Sprintln(args...), nil },
		"printf":  printfFunc,
		"eq":      equalAny,
		"ne":      func(args []any) (any, error) { eq, err := equalAny(args); return eq != true, err },
		"lt":      ordering(func(c int) bool { return c < 0 }),
		"le":      ordering(func(c int) bool { return c <= 0 }),
		"gt":      ordering(func(c int) bool { return c > 0 }),
		"ge":      ordering(func(c int) bool { return c >= 0 }),
	}
}

// headerFuncs are those of a table's first line, in which a column's name stands as it is whatever its values become.
func headerFuncs() map[string]templateFunc {
	funcs := templateFuncs()
	for _, name := range []string{"json", "split", "join", "title", "lower", "upper", "pad", "truncate"} {
		funcs[name] = func(args []any) (any, error) {
			if len(args) == 0 {
				return nil, errArguments
			}
			return args[0], nil
		}
	}
	return funcs
}

// titleWords begins every word with a capital letter.
func titleWords(s string) string {
	before := ' '
	return strings.Map(func(r rune) rune {
		begins := !unicode.IsLetter(before) && !unicode.IsDigit(before) && before != '_' && before != '\''
		before = r
		if begins {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

var errArguments = errors.New("wrong number or kind of arguments")

func one(f func(any) (any, error)) templateFunc {
	return func(args []any) (any, error) {
		if len(args) != 1 {
			return nil, errArguments
		}
		return f(args[0])
	}
}

func text1(f func(string) string) templateFunc {
	return one(func(v any) (any, error) {
		s, ok := v.(string)
		if !ok {
			return nil, errArguments
		}
		return f(s), nil
	})
}

func text2(f func(a, b string) any) templateFunc {
	return func(args []any) (any, error) {
		if len(args) != 2 {
			return nil, errArguments
		}
		a, ok1 := args[0].(string)
		b, ok2 := args[1].(string)
		if !ok1 || !ok2 {
			return nil, errArguments
		}
		return f(a, b), nil
	}
}

// lastArg is and, or when no argument before the last decided.
func lastArg(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errArguments
	}
	return args[len(args)-1], nil
}

func templateJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func joinFunc(args []any) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	sep, ok := args[1].(string)
	_, values, err := elements(args[0])
	if !ok || err != nil || isNumber(reflect.ValueOf(args[0])) {
		return nil, errArguments
	}
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, sep), nil
}

func padFunc(args []any) (any, error) {
	if len(args) != 3 {
		return nil, errArguments
	}
	s, ok1 := args[0].(string)
	before, ok2 := args[1].(int)
	after, ok3 := args[2].(int)
	if !ok1 || !ok2 || !ok3 || before < 0 || after < 0 {
		return nil, errArguments
	}
	return strings.Repeat(" ", before) + s + strings.Repeat(" ", after), nil
}

func truncateFunc(args []any) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	s, ok1 := args[0].(string)
	n, ok2 := args[1].(int)
	if !ok1 || !ok2 || n < 0 {
		return nil, errArguments
	}
	return cut(s, n), nil
}

// labelFunc is {{.Label "key"}} of a row; a label that is missing is empty.
func labelFunc(args []any) (any, error) {
	if len(args) != 2 {
		return nil, errArguments
	}
	r, ok1 := args[0].(row)
	key, ok2 := args[1].(string)
	labels, ok3 := r[labelsKey].(map[string]string)
	if !ok1 || !ok2 || !ok3 {
		return nil, errors.New("labels are in a list's rows only, use index .Labels \"key\"")
	}
	return labels[key], nil
}

func length(v any) (any, error) {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Map, reflect.Slice, reflect.Array, reflect.String:
		return r.Len(), nil
	}
	return nil, errArguments
}

// index goes into maps and lists: index .Labels "key", index .List 0. A key that is missing is empty.
func index(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errArguments
	}
	v := args[0]
	for _, key := range args[1:] {
		r := reflect.ValueOf(v)
		switch r.Kind() {
		case reflect.Map:
			name, ok := key.(string)
			if !ok {
				return nil, errArguments
			}
			got := r.MapIndex(reflect.ValueOf(name).Convert(r.Type().Key()))
			if !got.IsValid() {
				v = reflect.Zero(r.Type().Elem()).Interface()
				continue
			}
			v = got.Interface()
		case reflect.Slice, reflect.Array, reflect.String:
			i, ok := key.(int)
			if !ok {
				return nil, errArguments
			}
			if i < 0 || i >= r.Len() {
				return nil, fmt.Errorf("index %d is out of range: there are %d", i, r.Len())
			}
			v = r.Index(i).Interface()
		default:
			return nil, fmt.Errorf("can't index %s", printed(v))
		}
	}
	return v, nil
}

func sliceFunc(args []any) (any, error) {
	if len(args) == 0 || len(args) > 3 {
		return nil, errArguments
	}
	r := reflect.ValueOf(args[0])
	if k := r.Kind(); k != reflect.Slice && k != reflect.String {
		return nil, errArguments
	}
	bounds := [2]int{0, r.Len()}
	for i, a := range args[1:] {
		n, ok := a.(int)
		if !ok || n < 0 || n > r.Len() {
			return nil, errArguments
		}
		bounds[i] = n
	}
	if bounds[0] > bounds[1] {
		return nil, errArguments
	}
	return r.Slice(bounds[0], bounds[1]).Interface(), nil
}

func printfFunc(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errArguments
	}
	format, ok := args[0].(string)
	if !ok {
		return nil, errArguments
	}
	return fmt.Sprintf(format, args[1:]...), nil
}
