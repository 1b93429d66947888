// Package client is the Go client of a Shoal daemon.
//
// New dials a host (a unix socket, or HOST:PORT with mutual TLS) and gives a Client whose fields are the
// daemon's four services. Every error that comes out of them is an *Error: a gRPC code for programs and one
// line for people, without gRPC's prefixes. Reads are repeated for a moment while managers elect a leader.
//
// The package prints nothing and knows nothing of flags, tables or terminals: that is cmd/shoal.
package client
