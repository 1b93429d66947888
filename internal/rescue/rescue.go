// Package rescue keeps a program going when a request that it answers ends in a panic: the request fails, the log has the
// stack.
//
// It ends the request's own goroutine and what that has deferred, nothing else: an object that was being changed stays as it is at
// that moment, a lock that is not released by defer stays locked. Panics of other goroutines, and what the Go runtime calls fatal (concurrent
// use of a map, a fault of memory), still end the program.
package rescue

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Panicked is the error of a request that ended in a panic. It is for the one who asked: what went wrong is in the log.
type Panicked struct{ Request string }

func (p *Panicked) Error() string {
	return fmt.Sprintf("internal error in %s: see the daemon's log", p.Request)
}

// Call runs f for a request. A panic is logged as an error, with its stack, and becomes a *Panicked.
func Call(log *slog.Logger, request string, f func() error) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		c := carry(r)
		log.Error("a request ended in a panic, the daemon goes on", "request", request, "error", fmt.Sprint(c.value), "stack", string(c.stack))
		err = &Panicked{request}
	}()
	return f()
}

// carried is a panic on its way to the goroutine that has the request.
type carried struct {
	value any
	stack []byte
}

// Error is what the Go runtime prints if nobody recovers.
func (c *carried) Error() string { return fmt.Sprintf("%v\n\n%s", c.value, c.stack) }

// carry takes up what was recovered, with the stack of where it began.
func carry(recovered any) *carried {
	if c, ok := recovered.(*carried); ok {
		return c
	}
	return &carried{recovered, debug.Stack()}
}

// Carry runs f in a goroutine that a request has started. A panic becomes an error, for Out.
func Carry(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = carry(r)
		}
	}()
	return f()
}

// Out panics with what Carry has carried, in the request's own goroutine; every other error it returns.
func Out(err error) error {
	if c, ok := err.(*carried); ok {
		panic(c)
	}
	return err
}
