package main

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/shoal-dev/shoal/proto/api"
)

// rawTerminal puts the terminal behind c.in into raw mode; restore is safe to call more than once.
func (c *cli) rawTerminal() (restore func(), err error) {
	fd, ok := terminalOf(c.in)
	if !ok {
		return func() {}, nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("set the terminal raw: %w", err)
	}
	return func() { _ = term.Restore(fd, old) }, nil
}

// terminalSize is the size of the terminal that a container's output goes to, nil if there is none.
func (c *cli) terminalSize() *api.TerminalSize {
	for _, stream := range []any{c.out, c.in} {
		if fd, ok := terminalOf(stream); ok {
			if w, h, err := term.GetSize(fd); err == nil {
				return &api.TerminalSize{Width: uint32(w), Height: uint32(h)}
			}
		}
	}
	return nil
}

// checkTTY refuses what could not work: a terminal for the process and none here to type on.
func (c *cli) checkTTY(tty, stdin bool) error {
	if !tty || !stdin {
		return nil
	}
	if _, ok := terminalOf(c.in); !ok {
		return &exitError{code: exitFailure, err: errors.New("the input device is not a terminal: leave out -t, or -i")}
	}
	return nil
}

// defaultDetachKeys leave a container running: ctrl-p, ctrl-q.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// parseDetachKeys reads a list of characters and ctrl-X.
func parseDetachKeys(s string) ([]byte, error) {
	if s == "" {
		s = defaultDetachKeys
	}
	var keys []byte
	for _, word := range strings.Split(s, ",") {
		rest, isCtrl := strings.CutPrefix(word, "ctrl-")
		switch {
		case isCtrl && len(rest) == 1 && rest[0] >= 'a' && rest[0] <= 'z':
			keys = append(keys, rest[0]-'a'+1)
		case isCtrl && len(rest) == 1 && strings.Contains(`@[\]^_`, rest):
			keys = append(keys, rest[0]-'@')
		case !isCtrl && len(word) == 1:
			keys = append(keys, word[0])
		default:
			return nil, fmt.Errorf("invalid detach keys '%s': use single characters and ctrl-X with commas between them", s)
		}
	}
	return keys, nil
}

// keyScanner finds the detach keys in what is typed. It holds back the beginning of a sequence until it is
// clear that it is none.
type keyScanner struct {
	keys []byte
	held int
}

// scan gives what may be passed on, and whether the sequence is complete.
func (k *keyScanner) scan(in []byte) (out []byte, found bool) {
	for _, b := range in {
		if b == k.keys[k.held] {
			if k.held++; k.held == len(k.keys) {
				return out, true
			}
			continue
		}
		out = append(out, k.keys[:k.held]...)
		k.held = 0
		if b == k.keys[0] {
			k.held = 1
			if len(k.keys) == 1 {
				return out, true
			}
			continue
		}
		out = append(out, b)
	}
	return out, false
}
