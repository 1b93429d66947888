//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/sigproxy"
)

// watchResize sends when the terminal's size has changed.
func watchResize() (changed <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGWINCH)
	return ch, func() { signal.Stop(ch) }
}

// watchSignals sends all signals, of which signalName knows those that are passed on. The two that end programs are watched
// at once. All sixty take Go half a millisecond to begin with and as much to end with, for which nobody has to wait.
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
	n, ok := s.(syscall.Signal)
	if !ok || !sigproxy.PassedOn(s) {
		return "", false
	}
	name = unix.SignalName(n)
	return name, name != ""
}
