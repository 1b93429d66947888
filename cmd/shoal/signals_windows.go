package main

import (
	"os"
	"os/signal"
)

// watchResize never sends: Windows tells of sizes otherwise.
func watchResize() (changed <-chan os.Signal, stop func()) { return nil, func() {} }

// watchSignals sends ctrl-c.
func watchSignals() (signals <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 16)
	signal.Notify(ch, os.Interrupt)
	return ch, func() { signal.Stop(ch) }
}

// signalName is a signal's name if it is passed on.
func signalName(s os.Signal) (name string, ok bool) { return "SIGINT", s == os.Interrupt }
