package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

// Exit codes, Docker's.
const (
	exitFailure  = 1
	exitTemplate = 64  // a --format of inspect, info and version that is no template
	exitUsage    = 125 // also: a container that could not be made or started
	exitNoExec   = 126
	exitNoFile   = 127

	exitInterrupted = 128 + 2  // SIGINT
	exitPipe        = 128 + 13 // SIGPIPE
)

// exitError ends the program with a code of its own; err may be nil if all has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// report prints an error as one line and gives the exit code.
func (c *cli) report(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) { // the person pressed ctrl-c and knows
		return exitInterrupted
	}
	if readerGone(err) {
		return exitPipe
	}
	code := exitFailure
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
		if exit.err == nil {
			return code
		}
	}
	c.sayError(err)
	return code
}

// readerGone: who read the output (head, less) has seen enough. Where signals are passed on to a container SIGPIPE does not end the program.
func readerGone(err error) bool {
	var path *fs.PathError
	return errors.Is(err, syscall.EPIPE) && errors.As(err, &path) && path.Path == os.Stdout.Name()
}

// sayError prints one line to stderr.
func (c *cli) sayError(err error) {
	fmt.Fprintln(c.err, "shoal:", c.explain(err))
}

// explain gives an error's text, made precise where the daemon could only say that it has no managers' service.
func (c *cli) explain(err error) string {
	msg := err.Error()
	if client.CodeOf(err) == codes.Unimplemented && strings.Contains(msg, "shoal.api.Control") {
		if better := c.whyNoControl(); better != "" {
			return better
		}
	}
	return strings.Join(strings.Fields(msg), " ")
}

// whyNoControl asks the daemon what part it plays, since it does not answer as a manager.
func (c *cli) whyNoControl() string {
	d, err := c.client()
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), shortTimeout)
	defer cancel()
	info, err := d.Local.Info(ctx, &api.InfoRequest{})
	if err != nil {
		return ""
	}
	switch cl := info.GetCluster(); {
	case cl.GetState() == api.ClusterInfo_INACTIVE:
		return "this node is not in a cluster: run 'shoal cluster init' or 'shoal cluster join'"
	case cl.GetRole() == api.NodeRole_WORKER:
		return "this node is a worker: run this on a manager, for example -H " + exampleManager(cl)
	}
	return ""
}

func exampleManager(cl *api.ClusterInfo) string {
	for _, addr := range cl.GetManagerAddrs() {
		return addr
	}
	return "HOST:PORT"
}

// usageError is a wrong command line; the message says where the right one is described.
func usageError(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s (see '%s --help')", fmt.Sprintf(format, args...), cmd.CommandPath())
}

// each runs do for every name, reports what fails and goes on. The error says only that something failed.
func (c *cli) each(names []string, do func(name string) error) error {
	failed := false
	for _, name := range names {
		if err := do(name); err != nil {
			c.sayError(err)
			failed = true
		}
	}
	if failed {
		return &exitError{code: exitFailure}
	}
	return nil
}

// eachPrint is each, and prints every name that went well.
func (c *cli) eachPrint(names []string, do func(name string) error) error {
	return c.each(names, func(name string) error {
		if err := do(name); err != nil {
			return err
		}
		fmt.Fprintln(c.out, name)
		return nil
	})
}

// isEOF tells the ordinary end of a stream.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }
