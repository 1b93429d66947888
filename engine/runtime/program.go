//go:build linux

package runtime

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// program is a list of system calls in the making, for a child that can do nothing
// else: no Go, no memory, no second thread. See package wire.
type program struct {
	ins    []wire.Instr
	opens  []wire.Open
	joins  []wire.Join
	data   []byte
	relocs []word // in data
	args   []argRef
	strs   map[string]ref
	reg    int
	err    error
	hdr    wire.Header
	jumps  []jump
}

// ref is an offset into the data, reg the number of a register, label a place to jump to.
type (
	ref   uint32
	reg   uint8
	label struct{ at int }
)

type word struct{ at, to uint32 }
type argRef struct{ ins, arg int }
type jump struct {
	ins  int
	onOK bool
	to   *label
}

// step is the instruction just added, to be refined.
type step struct {
	p *program
	i int
}

func newProgram() *program {
	return &program{strs: map[string]ref{}, reg: wire.RegFree}
}

// newReg takes a register nobody uses.
func (p *program) newReg() reg {
	if p.reg >= wire.NumRegs {
		p.fail(fmt.Errorf("more than %d mounts and files in one container", wire.NumRegs))
		return 0
	}
	p.reg++
	return reg(p.reg - 1)
}

func (p *program) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// bytes puts raw data into the blob, aligned to 8.
func (p *program) bytes(b []byte) ref {
	for len(p.data)%8 != 0 {
		p.data = append(p.data, 0)
	}
	at := ref(len(p.data))
	p.data = append(p.data, b...)
	return at
}

// str puts a NUL-terminated string into the blob, each only once.
func (p *program) str(s string) ref {
	if at, ok := p.strs[s]; ok {
		return at
	}
	at := ref(len(p.data))
	p.data = append(append(p.data, s...), 0)
	p.strs[s] = at
	return at
}

func (p *program) span(s string) wire.Span {
	if s == "" {
		return wire.Span{}
	}
	return wire.Span{Off: uint32(p.str(s)), Len: uint32(len(s))}
}

// words puts 8-byte words into the blob; a ref among them becomes an address.
func (p *program) words(values ...any) ref {
	at := p.bytes(make([]byte, 8*len(values)))
	for i, v := range values {
		off := int(at) + 8*i
		switch v := v.(type) {
		case ref:
			p.relocs = append(p.relocs, word{uint32(off), uint32(v)})
		case uint64:
			binary.NativeEndian.PutUint64(p.data[off:], v)
		case int:
			binary.NativeEndian.PutUint64(p.data[off:], uint64(v))
		default:
			panic(fmt.Sprintf("program word of type %T", v))
		}
	}
	return at
}

// strings is a NULL-terminated array of strings.
func (p *program) strings(list []string) ref {
	w := make([]any, 0, len(list)+1)
	for _, s := range list {
		w = append(w, p.str(s))
	}
	return p.words(append(w, uint64(0))...)
}

// do adds an instruction. Arguments are numbers, strings, refs and registers.
func (p *program) do(what string, nr int, args ...any) step {
	in := wire.Instr{NR: uint32(nr), Label: p.span(what)}
	n := len(p.ins)
	for i, a := range args {
		switch a := a.(type) {
		case int:
			in.Args[i] = uint64(a)
		case uint32:
			in.Args[i] = uint64(a)
		case uint64:
			in.Args[i] = a
		case string:
			in.Args[i] = uint64(p.str(a))
			p.args = append(p.args, argRef{n, i})
		case ref:
			in.Args[i] = uint64(a)
			p.args = append(p.args, argRef{n, i})
		case reg:
			in.Args[i] = uint64(a)
			in.Regs |= 1 << i
		default:
			panic(fmt.Sprintf("program argument of type %T", a))
		}
	}
	p.ins = append(p.ins, in)
	return step{p, n}
}

func (s step) in() *wire.Instr { return &s.p.ins[s.i] }

// to keeps the result in a register.
func (s step) to(r reg) step { s.in().Dst = uint8(r); return s }

// ok makes one errno count as success.
func (s step) ok(e unix.Errno) step { s.in().OkErr = uint16(e); return s }

// ignore goes on after any failure, warn also tells the daemon.
func (s step) ignore() step { s.in().Fail = wire.FailIgnore; return s }
func (s step) warn() step   { s.in().Fail = wire.FailWarn; return s }

// orElse and then jump after a failure and after success.
func (s step) orElse(l *label) step {
	s.in().Fail = wire.FailJump
	s.p.jumps = append(s.p.jumps, jump{s.i, false, l})
	return s
}

func (s step) then(l *label) step {
	s.p.jumps = append(s.p.jumps, jump{s.i, true, l})
	return s
}

// here fixes a label at the next instruction.
func (p *program) here(l *label) { l.at = len(p.ins) }

// open makes the shim open a file before it forks.
func (p *program) open(path string, flags int) reg {
	r := p.newReg()
	p.opens = append(p.opens, wire.Open{Path: p.span(path), Flags: uint32(flags), Reg: uint32(r)})
	return r
}

// join makes the shim's thread enter a namespace around the fork; an empty path
// means that of the container's PID 1.
func (p *program) join(path string, kind int) {
	p.joins = append(p.joins, wire.Join{Path: p.span(path), Type: uint32(kind)})
}

// tell sends a message to the shim.
func (p *program) tell(kind uint32) {
	m := p.bytes(structBytes(&wire.Msg{Kind: kind}))
	p.do("tell the shim", unix.SYS_WRITE, reg(wire.RegSync), m, int(unsafe.Sizeof(wire.Msg{})))
}

// ask sends a message and waits until the shim has acted on it.
func (p *program) ask(kind uint32) {
	p.tell(kind)
	p.do("wait for the shim", wire.DoAwait)
}
