//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchResize sends when the terminal's size has changed.
func watchResize() (changed <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGWINCH)
	return ch, func() { signal.Stop(ch) }
}

// watchSignals sends the signals that are passed on to a container: all but those that mean this program
// itself, its terminal, its children or Go's scheduler. The two that end programs are watched at once. All sixty take Go
// half a millisecond to begin with and as much to end with, for which nobody has to wait.
func watchSignals() (signals <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	all := make(chan struct{})
	go func() {
		signal.Notify(ch)
		close(all)
	}()
	return ch, func() {
		<-all
		signal.Stop(ch)
	}
}

// signalName is a signal's name if it is passed on.
func signalName(s os.Signal) (name string, ok bool) {
	switch s {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGTTIN, syscall.SIGTTOU:
		return "", false
	}
	n, ok := s.(syscall.Signal)
	if !ok {
		return "", false
	}
	name = unix.SignalName(n)
	return name, name != ""
}
