// Package execwire is the short form in which a command line asks a daemon on its own machine for an exec: the messages
// of the call Containers.Exec, each behind a header, on the API's socket. A connection that begins with Preface speaks it;
// every other speaks gRPC, whose first byte is another one.
//
// It exists because of what gRPC costs a program that lives for six milliseconds (docs/engine.md, "The short form of exec"). It knows bytes,
// not what the messages mean, and imports next to nothing: cmd/shoal/execfirst runs before other packages are ready.
package execwire

import (
	"errors"
	"io"
)

// Preface is the first thing that the client sends. Another version of the form has another preface.
const Preface = "SHOALEXEC1\n"

// HeaderSize is the length of what stands before every frame's body: its kind, and the body's length in four bytes,
// lowest first.
const HeaderSize = 5

// MaxBody bounds a frame's body, in bytes: as much as gRPC takes for one message.
const MaxBody = 16 << 20

// The kinds of frames.
const (
	// Hello is the daemon's first frame, sent before it does anything: it understands. Its body is empty.
	Hello = 1
	// Message holds a StreamInput from the client or a StreamOutput from the daemon, in protobuf's encoding.
	Message = 2
	// Refused is the daemon's last frame if the call failed; its body is the reason. Before a message that says ready
	// it means that nothing has been done.
	Refused = 3
)

// ErrTooLong is the error of a frame whose body is longer than MaxBody.
var ErrTooLong = errors.New("frame is too long")

// Append adds a frame to b.
func Append(b []byte, kind byte, body []byte) []byte {
	n := len(body)
	b = append(b, kind, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(b, body...)
}

// Read reads one frame. It returns io.EOF if there is none, io.ErrUnexpectedEOF if it ends too early, and ErrTooLong.
func Read(r io.Reader) (kind byte, body []byte, err error) {
	var h [HeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint32(h[1]) | uint32(h[2])<<8 | uint32(h[3])<<16 | uint32(h[4])<<24
	if n > MaxBody {
		return 0, nil, ErrTooLong
	}
	body = make([]byte, n)
	if _, err = io.ReadFull(r, body); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return h[0], body, err
}
