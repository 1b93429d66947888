package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/proto/api"
)

// Error is what every call fails with: one line that a person can read.
type Error struct {
	Code    codes.Code
	Message string
	// ExitCode is set if a container's or exec session's command could not be started: 125, 126 or 127.
	ExitCode int
	cause    error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, if it was on this side (a file that is not there, a cancelled context).
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets status.FromError work on an *Error.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// CodeOf is the code of an error of this package, codes.Unknown for any other, codes.OK for nil.
func CodeOf(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return codes.Unknown
}

// IsNotFound tells whether what was asked for does not exist.
func IsNotFound(err error) bool { return CodeOf(err) == codes.NotFound }

// clean turns a method's gRPC error into an *Error. io.EOF ends streams and stays what it is.
func (c *Client) clean(ctx context.Context, method string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Unavailable:
		if f := c.dialErr.Load(); f != nil {
			return c.unreachable(f.err)
		}
		return &Error{Code: s.Code(), Message: c.lostConnection(s.Message()), cause: err}
	case codes.Canceled, codes.DeadlineExceeded:
		if ctx.Err() != nil { // else the daemon itself gave up, and says why
			return &Error{Code: s.Code(), Message: c.interrupted(s), cause: ctx.Err()}
		}
	case codes.Unimplemented:
		return c.older(method, s.Message())
	case codes.FailedPrecondition:
		if ofNode(method) && (strings.HasPrefix(s.Message(), "this node is not in a cluster") || strings.HasPrefix(s.Message(), "this node is a worker")) {
			return c.older(method, s.Message())
		}
	}
	return &Error{Code: s.Code(), Message: oneLine(s.Message()), ExitCode: exitCode(s)}
}

// older says that a daemon does not know what it is asked for.
func (c *Client) older(method, what string) *Error {
	if ofNode(method) && !strings.HasPrefix(what, "field ") {
		what = "unknown method " + path.Base(method)
	}
	return &Error{Code: codes.Unimplemented, Message: fmt.Sprintf("the daemon at %s does not know this request (%s): it is of an older version than this command; restart it in the version of the command", c.host, oneLine(what))}
}

// ofNode tells the methods that every daemon has, in a cluster or not. The first daemons asked their cluster for those that they did not know.
func ofNode(method string) bool {
	return strings.HasPrefix(method, "/"+api.Containers_ServiceDesc.ServiceName+"/") || strings.HasPrefix(method, "/"+api.Images_ServiceDesc.ServiceName+"/")
}

// exitCode reads the detail that a failed start carries.
func exitCode(s *status.Status) int {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Reason == "START_FAILED" {
			code, _ := strconv.Atoi(info.Metadata["exit_code"])
			return code
		}
	}
	return 0
}

// unreachable says why nobody answered and what to do about it.
func (c *Client) unreachable(err error) error {
	e := &Error{Code: codes.Unavailable, cause: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Message = fmt.Sprintf("permission denied at %s: run as root or add yourself to the group shoal (usermod -aG shoal $USER, then log in again)", c.host)
	case c.host.Network == "unix":
		e.Message = fmt.Sprintf("cannot connect to the Shoal daemon at %s: is it running? start it with 'shoal daemon' or set SHOAL_HOST", c.host)
	default:
		e.Message = fmt.Sprintf("cannot connect to the Shoal daemon at %s: %v", c.host, rootCause(err))
	}
	return e
}

// lostConnection keeps a server's own words and replaces the transport's.
func (c *Client) lostConnection(msg string) string {
	switch {
	case strings.Contains(msg, "authentication handshake failed"):
		_, why, _ := strings.Cut(msg, "authentication handshake failed: ")
		return fmt.Sprintf("cannot trust the Shoal daemon at %s: %s", c.host, oneLine(strings.Trim(why, `"`)))
	case strings.Contains(msg, "preface") && !hangsUp(msg):
		return fmt.Sprintf("what listens at %s does not answer as a Shoal daemon: check --host and SHOAL_HOST", c.host)
	case strings.Contains(msg, "preface"), strings.Contains(msg, "connection error"), strings.Contains(msg, "error reading from server"),
		strings.Contains(msg, "transport is closing"), (strings.HasPrefix(msg, "write ") || strings.HasPrefix(msg, "read ")) && hangsUp(msg):
		return fmt.Sprintf("lost the connection to the Shoal daemon at %s: is it still running?", c.host)
	}
	return oneLine(msg)
}

// hangsUp tells a daemon that died while it was being connected to from something that answers in another language.
func hangsUp(msg string) bool {
	return strings.HasSuffix(msg, "EOF") || strings.Contains(msg, "connection reset") || strings.Contains(msg, "broken pipe")
}

func (c *Client) interrupted(s *status.Status) string {
	if s.Code() == codes.DeadlineExceeded {
		return fmt.Sprintf("the Shoal daemon at %s did not answer in time", c.host)
	}
	return "interrupted"
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// oneLine folds a message, so that no error ever takes two lines.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
