//go:build linux

package image

import (
	"fmt"
	"strings"
)

// variables are what $NAME in a line of a Dockerfile stands for: the environment as it is before the line.
type variables []string

func (v variables) get(name string) (string, bool) {
	for _, e := range v {
		if k, value, _ := strings.Cut(e, "="); k == name {
			return value, true
		}
	}
	return "", false
}

// expand replaces variables in text without quotes; \$ is a dollar sign.
func (v variables) expand(s string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '$':
			i++
			out.WriteByte('$')
		case s[i] == '$':
			value, n, err := v.at(s[i:])
			if err != nil {
				return "", err
			}
			out.WriteString(value)
			i += n - 1
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String(), nil
}

// at gives what the variable at the start of s stands for, and how many bytes it takes: $NAME, ${NAME}, ${NAME:-WORD} (if it is
// empty or not there) or ${NAME:+WORD} (if it is neither). A dollar sign before anything else is one.
func (v variables) at(s string) (value string, n int, err error) {
	if !strings.HasPrefix(s, "${") {
		n = 1 + nameLength(s[1:])
		if n == 1 {
			return "$", 1, nil
		}
		value, _ = v.get(s[1:n])
		return value, n, nil
	}
	inner, _, closed := strings.Cut(s[2:], "}")
	n = len("${}") + len(inner)
	name := inner[:nameLength(inner)]
	value, _ = v.get(name)
	word := inner[len(name):]
	switch {
	case !closed || name == "":
		return "", 0, fmt.Errorf("%q is not ${NAME}", s)
	case word == "":
		return value, n, nil
	case strings.HasPrefix(word, ":-") && value == "", strings.HasPrefix(word, ":+") && value != "":
		value, err = v.expand(word[2:])
		return value, n, err
	case strings.HasPrefix(word, ":-"), strings.HasPrefix(word, ":+"):
		return value, n, nil
	}
	return "", 0, fmt.Errorf("${%s}: only ${NAME}, ${NAME:-WORD} and ${NAME:+WORD} are known", inner)
}

func nameLength(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}
