//go:build linux

package engine

import (
	"errors"
	"fmt"

	"github.com/shoal-dev/shoal/engine/runtime"
)

// Kinds of errors. Every error that an Engine returns for a caller's mistake is one of them under errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("already exists")
	ErrInvalid      = errors.New("invalid")
	ErrPrecondition = errors.New("not possible in this state")
)

// kindError is a message for a person that is of a kind.
type kindError struct {
	kind  error
	msg   string
	cause error
}

func (e *kindError) Error() string { return e.msg }

func (e *kindError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

func errorf(kind error, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &kindError{kind: kind, msg: err.Error(), cause: errors.Unwrap(err)}
}

// invalid is an error of a part below that is the caller's mistake.
func invalid(err error) error {
	if err == nil {
		return nil
	}
	return errorf(ErrInvalid, "%w", err)
}

// StartError says that a container was not started, and with which code `run` ends because of it.
type StartError struct {
	Container string // ID
	ExitCode  int    // 125 the engine failed, 126 the command cannot be executed, 127 it was not found
	Err       error
}

func (e *StartError) Error() string { return "start container: " + e.Err.Error() }

func (e *StartError) Unwrap() []error { return []error{ErrPrecondition, e.Err} }

// startExitCode is the code that Docker's run gives for a failure to start.
func startExitCode(err error) int {
	switch {
	case errors.Is(err, runtime.ErrNoCommand):
		return 127
	case errors.Is(err, runtime.ErrNotRunnable):
		return 126
	default:
		return 125
	}
}
