//go:build linux

package main

import (
	"testing"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// FuzzBlob loads any bytes as a program: what is accepted can be read without leaving it.
func FuzzBlob(f *testing.F) {
	h := wire.Header{Magic: wire.Magic, Size: uint64(unsafe.Sizeof(wire.Header{})), NInstr: 1 << 31, NReloc: 1}
	f.Add(unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)), uint32(0), uint32(1))
	f.Add([]byte{}, uint32(0), uint32(0))
	f.Fuzz(func(t *testing.T, raw []byte, off, length uint32) {
		mem, e := mmap(len(raw) + 8)
		if e != 0 {
			t.Skip(e)
		}
		defer munmap(mem)
		mem = mem[:len(raw)]
		copy(mem, raw)
		if len(mem) >= int(unsafe.Sizeof(wire.Header{})) { // most bytes are no header
			hdr := (*wire.Header)(unsafe.Pointer(&mem[0]))
			hdr.Magic, hdr.Size = wire.Magic, uint64(len(mem))
		}
		b, ok := load(mem)
		if !ok {
			return
		}
		s := wire.Span{Off: off, Len: length}
		b.text(s)
		b.behind(s)
		if b.hdr.NInstr > 0 {
			b.explain(wire.Msg{PC: off})
		}
		for i := range min(b.hdr.NOpen, 100) {
			b.text(b.open(i).Path)
		}
		for i := range min(b.hdr.NJoin, 100) {
			b.text(b.join(i).Path)
		}
	})
}
