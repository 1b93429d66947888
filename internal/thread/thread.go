//go:build linux

// Package thread runs functions that change what belongs to a thread (namespaces, working directory, users) and do not change it
// back.
package thread

import (
	"runtime"
	"syscall"
)

// Spend calls f on a thread that ends with it, and returns when f has returned. It is never the process's first thread: that one
// cannot end, and /proc/self shows everybody its namespaces as the process's.
func Spend[T any](f func() T) T {
	result := make(chan T, 1)
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			defer runtime.UnlockOSThread()
			result <- Spend(f) // held meanwhile, so that it must be another one
			return
		}
		result <- f() // not unlocked: the thread ends with the goroutine
	}()
	return <-result
}
