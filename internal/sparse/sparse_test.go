package sparse

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
)

// content is made of blocks: 'd' of data, '0' of zeros, and a tail of so many bytes.
func content(blocks string, tail int, filled bool) []byte {
	var out []byte
	for _, b := range blocks {
		block := make([]byte, Block)
		if b == 'd' {
			block[len(block)/2] = 1
		}
		out = append(out, block...)
	}
	end := make([]byte, tail)
	if filled && tail > 0 {
		end[tail-1] = 1
	}
	return append(out, end...)
}

func TestCopy(t *testing.T) {
	buf := make([]byte, 4*Block)
	for _, c := range [][]byte{
		nil, content("", 1, true), content("", 7, false), content("d", 0, false), content("0", 0, false), content("0d0", 0, false), content("d0000000d", 100, true),
		content("dddddddd", 3, false), content("00000000000", Block-1, true), content("d0d0d0d0d", 5, false),
	} {
		for name, r := range map[string]io.Reader{"whole": bytes.NewReader(c), "byte by byte": iotest.OneByteReader(bytes.NewReader(c)), "error with data": iotest.DataErrReader(bytes.NewReader(c))} {
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			n, err := Copy(t.Context(), f, r, buf)
			got, _ := os.ReadFile(f.Name())
			f.Close()
			if err != nil || n != int64(len(c)) || !bytes.Equal(got, c) {
				t.Errorf("%s, %d bytes: %d, %v; the file has %d bytes", name, len(c), n, err, len(got))
			}
		}
	}
}

func TestCopyFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What an archive that is cut off says must not pass for its end.
	r := io.MultiReader(bytes.NewReader(content("0d", 0, false)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := Copy(t.Context(), f, r, make([]byte, Block)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	f.Close()
	if _, err := Copy(t.Context(), f, bytes.NewReader(content("d", 0, false)), make([]byte, Block)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("into a closed file: %v", err)
	}
}

func BenchmarkDense(b *testing.B) {
	data := make([]byte, 64<<20)
	src := rand.NewChaCha8([32]byte{})
	src.Read(data)
	buf := make([]byte, 128<<10)
	for name, copyTo := range map[string]func(*os.File, io.Reader) error{
		"sparse": func(f *os.File, r io.Reader) error { _, err := Copy(b.Context(), f, r, buf); return err },
		"plain": func(f *os.File, r io.Reader) error {
			_, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, buf)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				f, err := os.CreateTemp("/dev/shm", "sparse")
				if err != nil {
					b.Fatal(err)
				}
				if err := copyTo(f, bytes.NewReader(data)); err != nil {
					b.Error(err)
				}
				f.Close()
				os.Remove(f.Name())
			}
		})
	}
}
