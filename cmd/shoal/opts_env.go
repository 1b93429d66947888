package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// readEnv merges --env-file and --env as Docker does: files first; a name without a value takes that of this
// process and is left out if there is none.
func readEnv(files, values []string) ([]string, error) {
	var out []string
	for _, file := range files {
		lines, err := readLines(file)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	return resolveEnv(append(out, values...)), nil
}

func resolveEnv(values []string) []string {
	var out []string
	for _, v := range values {
		if !strings.Contains(v, "=") {
			value, ok := os.LookupEnv(v)
			if !ok {
				continue
			}
			v += "=" + value
		}
		out = append(out, v)
	}
	return out
}

func checkEnv(s string) (string, error) {
	if name, _, _ := strings.Cut(s, "="); name == "" {
		return "", fmt.Errorf("expected NAME=VALUE or NAME")
	}
	return s, nil
}

// readLines reads NAME=VALUE lines; empty ones and those that begin with # are left out.
func readLines(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimLeft(strings.TrimPrefix(s.Text(), "\ufeff"), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line, "=")
		if name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("%s:%d: '%s' is not a name", file, n, name)
		}
		out = append(out, line)
	}
	return out, s.Err()
}

// pairs reads --label values: KEY or KEY=VALUE.
func pairs(values []string) map[string]string {
	if len(values) == 0 {
		return nil
	}
	m := make(map[string]string, len(values))
	for _, v := range values {
		k, val, _ := strings.Cut(v, "=")
		m[k] = val
	}
	return m
}

func checkLabel(s string) (string, error) {
	if k, _, _ := strings.Cut(s, "="); strings.TrimSpace(k) == "" {
		return "", fmt.Errorf("expected KEY or KEY=VALUE")
	}
	return s, nil
}
