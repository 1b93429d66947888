package main

import (
	"fmt"
	"strings"
)

// splitCommand cuts a command line into words, with quotes and backslashes as a shell reads them.
func splitCommand(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("unfinished quote in %q", s)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// commandOpt is --entrypoint and --args of services: one string, cut into words.
type commandOpt struct {
	words []string
	set   bool
}

func (o *commandOpt) String() string { return "" }

func (o *commandOpt) Type() string { return "command" }

func (o *commandOpt) Set(s string) (err error) {
	o.words, err = splitCommand(s)
	o.set = true
	return err
}
