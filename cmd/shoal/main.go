// Command shoal is both ends of Shoal: the command line and, as `shoal daemon`, the daemon of a node.
//
// One verb is one file. A verb reads its flags, makes one or a few calls through package client and prints;
// what several verbs share (tables, filters, inspection, progress, terminals, flag values) is in a file of its
// own named after it. Names, flags, columns and exit codes are Docker's; docs/docker-differences.md lists where
// they are not. The daemon itself lives in package node: nothing here knows how a cluster works.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, release := signalContext(context.Background())
	defer release()
	printed := &output{Writer: out}
	c := &cli{in: in, out: printed, err: errOut, releaseSignals: release}
	defer c.close()
	root := newRootCommand(c, args)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(printed)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = printed.failed()
	}
	return c.report(err)
}

// signalContext is cancelled by the first SIGINT or SIGTERM; the second ends the program. release leaves the
// context as it is and gives the signals back, for verbs that pass them on to a container.
func signalContext(parent context.Context) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			signal.Stop(signals)
			cancel()
		case <-done:
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
	})
}
