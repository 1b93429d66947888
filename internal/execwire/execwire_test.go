package execwire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFramesComeBack(t *testing.T) {
	var b []byte
	bodies := [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long"), 20000)}
	for i, body := range bodies {
		b = Append(b, byte(i+1), body)
	}
	r := bytes.NewReader(b)
	for i, body := range bodies {
		kind, got, err := Read(r)
		if err != nil || kind != byte(i+1) || !bytes.Equal(got, body) {
			t.Fatalf("frame %d: kind %d, %d bytes, %v", i, kind, len(got), err)
		}
	}
	if _, _, err := Read(r); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestFramesThatAreNone(t *testing.T) {
	whole := Append(nil, Message, []byte("abc"))
	for n := 1; n < len(whole); n++ {
		if _, _, err := Read(bytes.NewReader(whole[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
	if _, _, err := Read(bytes.NewReader([]byte{Message, 1, 0, 0, 1})); !errors.Is(err, ErrTooLong) {
		t.Errorf("16 MiB and one byte: %v", err)
	}
}
