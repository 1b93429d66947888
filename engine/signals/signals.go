//go:build linux

// Package signals reads the names of signals as Docker takes them.
package signals

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The real-time signals that programs have: glibc keeps the two before the first for itself.
const (
	firstRealTime = 34
	lastRealTime  = 64
)

// Parse reads SIGTERM, TERM, 15, RTMIN+3 or SIGRTMAX-1.
func Parse(s string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > lastRealTime {
			return 0, fmt.Errorf("signal %d is not between 1 and %d", n, lastRealTime)
		}
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, nil
	}
	if n, ok := offset(name, "RTMIN", "+"); ok {
		return syscall.Signal(firstRealTime + n), nil
	}
	if n, ok := offset(name, "RTMAX", "-"); ok {
		return syscall.Signal(lastRealTime - n), nil
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}

func offset(name, from, sign string) (int, bool) {
	rest, ok := strings.CutPrefix(name, from)
	if !ok || rest == "" {
		return 0, ok
	}
	rest, ok = strings.CutPrefix(rest, sign)
	n, err := strconv.ParseUint(rest, 10, 8)
	return int(n), ok && err == nil && n <= lastRealTime-firstRealTime
}
