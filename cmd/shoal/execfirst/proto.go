//go:build linux

package execfirst

// Protobuf's encoding by hand (protobuf.dev/programming-guides/encoding), for the four messages that are needed: the
// library is half a millisecond of work before the first of them. The numbers are those of proto/api/local.proto; the
// tests hold them against the library.
const (
	inputExec       = 2
	inputStdin      = 3
	inputStdinClose = 4
	inputSignal     = 6

	execRef     = 1
	execCommand = 2
	execStdin   = 4
	execEnv     = 5
	execWorkdir = 6
	execUser    = 7

	outputStdout = 1
	outputStderr = 2
	outputExit   = 3
	outputReady  = 4

	exitCode  = 1
	exitError = 2
)

// Message is the StreamInput that opens the session.
func (r *Open) Message() []byte {
	var b []byte
	b = appendText(b, execRef, r.ref)
	for _, s := range r.command {
		b = appendBytes(b, execCommand, s)
	}
	if r.Stdin {
		b = appendTrue(b, execStdin)
	}
	for _, s := range r.env {
		b = appendBytes(b, execEnv, s)
	}
	b = appendText(b, execWorkdir, r.workdir)
	b = appendText(b, execUser, r.user)
	return appendBytes(nil, inputExec, b)
}

// appendText leaves out what is empty.
func appendText(b []byte, field int, s string) []byte {
	if s == "" {
		return b
	}
	return appendBytes(b, field, s)
}

func appendBytes[T string | []byte](b []byte, field int, s T) []byte {
	b = appendVarint(b, uint64(field)<<3|2)
	b = appendVarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTrue(b []byte, field int) []byte {
	return append(appendVarint(b, uint64(field)<<3), 1)
}

func appendVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// next takes the first field off b. Not ok: b is malformed.
func next(b []byte) (field int, number uint64, data, rest []byte, ok bool) {
	key, b, ok := varint(b)
	if !ok {
		return 0, 0, nil, nil, false
	}
	field = int(key >> 3)
	switch key & 7 {
	case 0:
		number, b, ok = varint(b)
		return field, number, nil, b, ok
	case 2:
		n, b, ok := varint(b)
		if !ok || n > uint64(len(b)) {
			return 0, 0, nil, nil, false
		}
		return field, 0, b[:n], b[n:], true
	}
	return 0, 0, nil, nil, false
}

func varint(b []byte) (v uint64, rest []byte, ok bool) {
	for i := 0; i < len(b) && i < 10; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}
