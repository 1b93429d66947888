//go:build linux

// Package thread runs functions that change what belongs to a thread (namespaces, working directory, users) and do not change it
// back.
package thread

import (
	"runtime"
	"syscall"

	"github.com/shoal-dev/shoal/internal/rescue"
)

// Spend calls f on a thread that ends with it, and returns when f has returned; a panic of f is the caller's. It is never the
// process's first thread: that one cannot end, and /proc/self shows everybody its namespaces as the process's.
func Spend[T any](f func() T) T {
	type outcome struct {
		value    T
		panicked error
	}
	result := make(chan outcome, 1)
	go func() {
		runtime.LockOSThread()
		run := f
		if syscall.Gettid() == syscall.Getpid() {
			defer runtime.UnlockOSThread()
			run = func() T { return Spend(f) } // held meanwhile, so that it must be another one
		}
		var o outcome
		o.panicked = rescue.Carry(func() error { o.value = run(); return nil })
		result <- o // not unlocked: the thread ends with the goroutine
	}()
	o := <-result
	rescue.Out(o.panicked)
	return o.value
}
