//go:build linux

package main

import (
	"syscall"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// blob is a received program in memory of its own, given back to the kernel once
// the child has its copy. Labels are still needed until the child has executed.
type blob struct {
	mem []byte
	hdr *wire.Header
}

// mmap gets zeroed memory outside of the Go heap.
func mmap(size int) ([]byte, syscall.Errno) {
	p, _, e := syscall.RawSyscall6(syscall.SYS_MMAP, 0, uintptr(size), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON, ^uintptr(0), 0)
	if e != 0 {
		return nil, e
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), size), 0
}

func munmap(b []byte) {
	if len(b) > 0 {
		syscall.RawSyscall(syscall.SYS_MUNMAP, uintptr(unsafe.Pointer(&b[0])), uintptr(cap(b)), 0)
	}
}

func (b *blob) free() {
	munmap(b.mem)
	*b = blob{}
}

// load checks the header and turns offsets into addresses. The sender is the
// daemon, as root as we are: the checks are against mistakes, not malice.
func load(mem []byte) (blob, bool) {
	b := blob{mem: mem}
	if len(mem) < int(unsafe.Sizeof(wire.Header{})) {
		return b, false
	}
	b.hdr = (*wire.Header)(unsafe.Pointer(&mem[0]))
	h := b.hdr
	if h.Magic != wire.Magic || h.Size != uint64(len(mem)) || b.relocs()+uintptr(h.NReloc)*4 > uintptr(len(mem)) {
		return b, false
	}
	base := uint64(uintptr(unsafe.Pointer(&mem[0])))
	from, to := b.relocs(), b.relocs()+uintptr(h.NReloc)*4
	for i := from; i < to; i += 4 {
		at := *(*uint32)(unsafe.Pointer(&mem[i]))
		if int(at)+8 > len(mem) || uintptr(at) < unsafe.Sizeof(wire.Header{}) || uintptr(at)+8 > from && uintptr(at) < to {
			return b, false
		}
		*(*uint64)(unsafe.Pointer(&mem[at])) += base
	}
	return b, true
}

func (b *blob) opensAt() uintptr {
	return unsafe.Sizeof(wire.Header{}) + uintptr(b.hdr.NInstr)*unsafe.Sizeof(wire.Instr{})
}

func (b *blob) joinsAt() uintptr {
	return b.opensAt() + uintptr(b.hdr.NOpen)*unsafe.Sizeof(wire.Open{})
}

func (b *blob) relocs() uintptr {
	return b.joinsAt() + uintptr(b.hdr.NJoin)*unsafe.Sizeof(wire.Join{})
}

func (b *blob) instr(i uint32) *wire.Instr {
	if i >= b.hdr.NInstr {
		i = b.hdr.NInstr - 1
	}
	return (*wire.Instr)(unsafe.Pointer(&b.mem[unsafe.Sizeof(wire.Header{})+uintptr(i)*unsafe.Sizeof(wire.Instr{})]))
}

func (b *blob) open(i uint32) *wire.Open {
	return (*wire.Open)(unsafe.Pointer(&b.mem[b.opensAt()+uintptr(i)*unsafe.Sizeof(wire.Open{})]))
}

func (b *blob) join(i uint32) *wire.Join {
	return (*wire.Join)(unsafe.Pointer(&b.mem[b.joinsAt()+uintptr(i)*unsafe.Sizeof(wire.Join{})]))
}

// text is a string of the blob, and outlives it.
func (b *blob) text(s wire.Span) string { return string(b.view(s)) }

// view is a string of the blob where it is: it must not be used after free.
func (b *blob) view(s wire.Span) []byte {
	if int(s.Off)+int(s.Len) > len(b.mem) {
		return nil
	}
	return b.mem[s.Off : s.Off+s.Len]
}

// behind is the text that follows another one's NUL.
func (b *blob) behind(s wire.Span) string {
	from := int(s.Off) + int(s.Len) + 1
	to := from
	for to < len(b.mem) && b.mem[to] != 0 {
		to++
	}
	if to >= len(b.mem) {
		return ""
	}
	return string(b.mem[from:to])
}

// explain says which step failed and why.
func (b *blob) explain(m wire.Msg) string {
	if b.hdr == nil {
		return syscall.Errno(m.Value).Error()
	}
	in := b.instr(m.PC)
	label := b.text(in.Label)
	if in.NR == wire.DoExecFail && in.Fail == wire.FailIgnore && syscall.Errno(m.Value) == syscall.ENOENT {
		return label // "executable file not found in $PATH" is already in it
	}
	return label + ": " + syscall.Errno(m.Value).Error()
}
