//go:build linux

package image

import (
	"fmt"
	"strings"
)

// pairs reads a=b "c d"='e f', or the old form: a b c.
func pairs(s string, vars variables) ([][2]string, error) {
	words, err := splitWords(s, vars)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(words[0], "=") {
		name, value, ok := strings.Cut(s, " ")
		if !ok {
			return nil, fmt.Errorf("%s has no value: write %s=VALUE", name, name)
		}
		value, err := vars.expand(strings.TrimSpace(value))
		return [][2]string{{name, value}}, err
	}
	var out [][2]string
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE", w)
		}
		out = append(out, [2]string{k, v})
	}
	return out, nil
}

// splitWords splits at spaces outside of quotes, as a shell does. s is not empty.
func splitWords(s string, vars variables) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			if i++; quote == '"' && s[i] != '"' && s[i] != '\\' && s[i] != '$' {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
		case c == '$' && quote != '\'':
			value, n, err := vars.at(s[i:])
			if err != nil {
				return nil, err
			}
			word.WriteString(value)
			i += n - 1
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
