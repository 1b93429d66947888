//go:build linux

package server

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/engine/volume"
)

// table maps kinds of errors to codes; the first match counts.
var table = []struct {
	kind error
	code codes.Code
}{
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{engine.ErrInvalid, codes.InvalidArgument},
	{engine.ErrNotFound, codes.NotFound},
	{engine.ErrExists, codes.AlreadyExists},
	{engine.ErrPrecondition, codes.FailedPrecondition},
	{network.ErrInvalid, codes.InvalidArgument},
	{network.ErrNotFound, codes.NotFound},
	{network.ErrExists, codes.AlreadyExists},
	{network.ErrInUse, codes.FailedPrecondition},
	{image.ErrInvalid, codes.InvalidArgument},
	{image.ErrAmbiguous, codes.InvalidArgument},
	{image.ErrNotFound, codes.NotFound},
	{image.ErrInUse, codes.FailedPrecondition},
	{volume.ErrInvalid, codes.InvalidArgument},
	{volume.ErrNoDriver, codes.NotFound},
	{volume.ErrNotFound, codes.NotFound},
	{volume.ErrConflict, codes.AlreadyExists},
	{volume.ErrInUse, codes.FailedPrecondition},
	{runtime.ErrNotFound, codes.FailedPrecondition},
	{runtime.ErrNotRunning, codes.FailedPrecondition},
	{runtime.ErrNoCommand, codes.FailedPrecondition},
	{runtime.ErrNotRunnable, codes.FailedPrecondition},
}

// Reason of the ErrorInfo detail of a start that failed; its metadata hold container and exit_code.
const (
	ErrorDomain = "shoal"
	StartFailed = "START_FAILED"
)

// toStatus is the one place where the engine's errors become codes.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Internal
	for _, row := range table {
		if errors.Is(err, row.kind) {
			code = row.code
			break
		}
	}
	s := status.New(code, err.Error())
	var start *engine.StartError
	if errors.As(err, &start) {
		info := &errdetails.ErrorInfo{Reason: StartFailed, Domain: ErrorDomain, Metadata: map[string]string{
			"container": start.Container, "exit_code": strconv.Itoa(start.ExitCode),
		}}
		if detailed, err := status.New(codes.FailedPrecondition, s.Message()).WithDetails(info); err == nil {
			s = detailed
		}
	}
	return s.Err()
}
