//go:build linux

package runtime

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// encode lays the blob out for a shim of this version.
func (p *program) encode() ([]byte, error) { return p.encodeFor(wire.Layout) }

// encodeFor lays the blob out for a shim that knows this layout of the header: header, instructions, files to open, namespaces
// to join, relocations, and at base, which is a multiple of eight, the data that all of them refer to.
func (p *program) encodeFor(layout int) ([]byte, error) {
	if len(p.ins) >= 1<<16 {
		p.fail(fmt.Errorf("container needs %d steps, more than %d", len(p.ins), 1<<16))
	}
	if p.err != nil {
		return nil, p.err
	}
	p.resolveJumps()
	header := p.hdr
	sizeHeader := len(headerBytes(&header, layout))
	base := p.base(sizeHeader)
	header.Magic, header.Size = wire.Magic, uint64(base+len(p.data))
	header.NInstr, header.NOpen, header.NJoin = uint32(len(p.ins)), uint32(len(p.opens)), uint32(len(p.joins))
	header.NReloc = uint32(len(p.relocs) + len(p.args))
	p.rebase(&header, uint32(base))

	out := append(make([]byte, 0, header.Size), headerBytes(&header, layout)...)
	out = appendStructs(out, p.ins)
	out = appendStructs(out, p.opens)
	out = appendStructs(out, p.joins)
	out = p.appendRelocs(out, sizeHeader, uint32(base))
	for len(out) < base {
		out = append(out, 0)
	}
	return append(out, p.data...), nil
}

func (p *program) resolveJumps() {
	for _, j := range p.jumps {
		if j.onOK {
			p.ins[j.ins].OnOK = uint16(j.to.at)
		} else {
			p.ins[j.ins].OnErr = uint16(j.to.at)
		}
	}
}

// base is where the data begins.
func (p *program) base(sizeHeader int) int {
	n := sizeHeader + len(p.ins)*int(unsafe.Sizeof(wire.Instr{})) + len(p.opens)*int(unsafe.Sizeof(wire.Open{})) +
		len(p.joins)*int(unsafe.Sizeof(wire.Join{})) + (len(p.relocs)+len(p.args))*4
	return (n + 7) &^ 7
}

// rebase makes offsets in the data offsets in the blob.
func (p *program) rebase(h *wire.Header, base uint32) {
	spans := []*wire.Span{&h.UIDMap, &h.GIDMap, &h.OOMFile, &h.LogPath, &h.PidFile}
	for i := range p.ins {
		spans = append(spans, &p.ins[i].Label)
	}
	for i := range p.opens {
		spans = append(spans, &p.opens[i].Path)
	}
	for i := range p.joins {
		spans = append(spans, &p.joins[i].Path)
	}
	for _, s := range spans {
		if s.Len > 0 {
			s.Off += base
		}
	}
	for _, a := range p.args {
		p.ins[a.ins].Args[a.arg] += uint64(base)
	}
}

// appendRelocs says where the blob holds offsets that the shim turns into addresses: in arguments, and in the data's own words.
func (p *program) appendRelocs(out []byte, sizeHeader int, base uint32) []byte {
	instr, args := int(unsafe.Sizeof(wire.Instr{})), int(unsafe.Offsetof(wire.Instr{}.Args))
	for _, a := range p.args {
		out = binary.NativeEndian.AppendUint32(out, uint32(sizeHeader+a.ins*instr+args+8*a.arg))
	}
	for _, w := range p.relocs {
		out = binary.NativeEndian.AppendUint32(out, base+w.at)
		binary.NativeEndian.PutUint64(p.data[w.at:], uint64(base)+uint64(w.to))
	}
	return out
}

func appendStructs[T any](out []byte, list []T) []byte {
	for i := range list {
		out = append(out, structBytes(&list[i])...)
	}
	return out
}

// headerBytes is a header in one of its layouts.
func headerBytes(h *wire.Header, layout int) []byte {
	b := structBytes(h)
	if layout == wire.LayoutFirst {
		at := unsafe.Offsetof(h.PidFile)
		return append(b[:at:at], b[at+unsafe.Sizeof(h.PidFile):]...)
	}
	return b
}

// structBytes is the memory of a struct without pointers.
func structBytes[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
