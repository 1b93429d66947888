// Package control is the language between a test and the init of a virtual machine: JSON, one value a line, over the
// machine's second serial port. The first answer says that the machine is ready; then a request is a shell script, and its
// answers are pieces of its output, the last with its exit code.
package control

// Request asks for one script to be run.
type Request struct {
	Script string
}

// Answer is a piece of output, or the end.
type Answer struct {
	Output []byte `json:",omitempty"`
	Done   bool   `json:",omitempty"`
	Code   int    `json:",omitempty"`
}
