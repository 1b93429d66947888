//go:build linux

// Package execfirst is `shoal exec` for a daemon on the same machine, done before the rest of the program is ready.
//
// Of the time that an exec takes, most went into starting this program: two hundred packages of the daemon and of gRPC
// initialise themselves before main. What is here is initialised before them and needs none of them. It takes the plain
// command lines (Request), speaks internal/execwire, and leaves everything else to the program as it is: options that
// are rare, terminals, daemons elsewhere or older than it, and all that fails before the command has started, which is
// asked for again and so reported in one place. What both understand, both do alike; tests hold one against the other.
//
// The order is the language's (go.dev/ref/spec#Program_initialization): of the packages whose imports are ready, the first
// by import path. This package imports a few small ones, so it is ready early; a test sees to it.
package execfirst

import "os"

// init is the only one of the house (TestNoInitFunctions): main comes after what is to be avoided.
func init() {
	open, ok := Request(os.Args[1:], os.Getenv("SHOAL_HOST"))
	if !ok {
		return
	}
	conn, err := dial(open.Socket, helloWithin)
	if err != nil {
		return
	}
	defer conn.Close()
	s := &session{open: open, conn: conn, in: os.Stdin, out: os.Stdout, err: os.Stderr}
	if code, done := s.run(); done {
		os.Exit(code)
	}
}
