//go:build unix

// Package sigproxy says which signals a command line passes on to the process that it stands for. It imports next to
// nothing: cmd/shoal/execfirst runs before other packages are ready.
package sigproxy

import (
	"os"
	"syscall"
)

// PassedOn tells whether a signal is for the process. Those that are not mean the command line itself: its terminal, its
// children or Go's scheduler.
func PassedOn(s os.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGTTIN, syscall.SIGTTOU:
		return false
	}
	return true
}
