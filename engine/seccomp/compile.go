//go:build linux

package seccomp

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Filter is a compiled profile.
type Filter struct {
	Flags uint32 // SECCOMP_FILTER_FLAG_*
	Code  []bpf.RawInstruction
}

// Bytes is Code in the kernel's form, an array of struct sock_filter.
func (f *Filter) Bytes() []byte {
	b := make([]byte, 0, 8*len(f.Code))
	for _, i := range f.Code {
		b = binary.NativeEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}

// Offsets in struct seccomp_data.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// maxInstructions is the kernel's BPF_MAXINSNS.
const maxInstructions = 4096

// rule is what happens to one system call: the first entry whose conditions all
// hold decides, then the fallback.
type rule struct {
	conditional []entry
	fallback    uint32
}

type entry struct {
	args   []specs.LinuxSeccompArg
	action uint32
}

// span is a run of system call numbers that are treated alike.
type span struct {
	from uint32 // up to the next span's from
	rule rule
}

// Compile turns a profile into a filter.
//
// The filter finds the architecture, then the number by binary search, so that the
// most common calls cost a dozen instructions and not hundreds. Names that an
// architecture does not know are skipped, as every runtime does. Calls newer than
// every call of the profile give ENOSYS instead of the default error, so that
// libraries fall back to what the profile knows. So do those of an instruction set
// that the kernel does not have.
func Compile(p *specs.LinuxSeccomp) (*Filter, error) { return compile(p, kernelRunsX32()) }

func compile(p *specs.LinuxSeccomp, x32 bool) (*Filter, error) {
	flags, err := filterFlags(p)
	if err != nil {
		return nil, err
	}
	def, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("seccomp default action: %w", err)
	}
	list, err := tables(p.Architectures, x32)
	if err != nil {
		return nil, err
	}
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: offArch, Size: 4}}
	byAudit := map[uint32][]table{}
	var order []uint32
	for _, t := range list {
		if byAudit[t.audit] == nil {
			order = append(order, t.audit)
		}
		byAudit[t.audit] = append(byAudit[t.audit], t)
	}
	for _, audit := range order {
		body, err := archBody(p, def, byAudit[audit])
		if err != nil {
			return nil, err
		}
		code = append(code, skipUnless(audit, body)...)
	}
	code = append(code, bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}) // an instruction set nobody spoke of
	if len(code) > maxInstructions {
		return nil, fmt.Errorf("seccomp profile compiles to %d instructions, the kernel takes %d", len(code), maxInstructions)
	}
	raw, err := bpf.Assemble(code)
	if err != nil {
		return nil, fmt.Errorf("assemble seccomp filter: %w", err)
	}
	return &Filter{Flags: flags, Code: raw}, nil
}

func skipUnless(audit uint32, body []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: audit, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(body))},
	}, body...)
}

// archBody is the search over the numbers of all tables with one AUDIT_ARCH: that of
// x86-64 is also x32's.
func archBody(p *specs.LinuxSeccomp, def uint32, list []table) ([]bpf.Instruction, error) {
	var spans []span
	for _, t := range list {
		s, err := tableSpans(p, def, t)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s...)
	}
	if list[0].x32Bit != 0 && len(list) == 1 {
		spans = append(spans, noX32(list[0]))
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	code := []bpf.Instruction{bpf.LoadAbsolute{Off: offNumber, Size: 4}}
	body, err := search(merge(spans))
	return append(code, body...), err
}

// noX32 answers as a kernel without x32 does. A profile that names what is forbidden
// and does not list x32 would otherwise be walked around by setting one bit.
func noX32(t table) span {
	return span{t.x32Bit, rule{fallback: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}}
}

// tableSpans lists the treatment of all numbers of one table, ascending.
func tableSpans(p *specs.LinuxSeccomp, def uint32, t table) ([]span, error) {
	rules := map[uint32]*rule{}
	last := t.mask
	for _, s := range p.Syscalls {
		act, err := action(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, fmt.Errorf("seccomp rule for %v: %w", s.Names, err)
		}
		for _, name := range s.Names {
			n, ok := t.number(name)
			if !ok {
				continue
			}
			last = max(last, n)
			r := rules[n]
			if r == nil {
				r = &rule{fallback: def}
				rules[n] = r
			}
			if len(s.Args) == 0 {
				r.fallback = act
			} else if err := r.add(s.Args, act); err != nil {
				return nil, fmt.Errorf("seccomp rule for %s: %w", name, err)
			}
		}
	}
	numbers := make([]uint32, 0, len(rules))
	for n := range rules {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	spans := []span{{from: t.mask, rule: rule{fallback: def}}}
	for _, n := range numbers {
		spans = append(spans, span{n, *rules[n]}, span{n + 1, rule{fallback: def}})
	}
	return append(spans, span{last + 1, rule{fallback: tooNew(def)}}), nil
}

// add notes a conditional rule. Conditions on the same argument are alternatives
// (the old way to write a set of values), those on different ones must all hold.
func (r *rule) add(args []specs.LinuxSeccompArg, act uint32) error {
	count := map[uint]int{}
	for _, a := range args {
		if a.Index > 5 {
			return fmt.Errorf("there is no argument %d", a.Index)
		}
		count[a.Index]++
	}
	for _, n := range count {
		if n > 1 {
			for _, a := range args {
				r.conditional = append(r.conditional, entry{[]specs.LinuxSeccompArg{a}, act})
			}
			return nil
		}
	}
	r.conditional = append(r.conditional, entry{args, act})
	return nil
}

// tooNew is what calls behind the profile's last one get.
func tooNew(def uint32) uint32 {
	if def&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return def
}

// merge drops what is overridden or repeats its neighbour.
func merge(spans []span) []span {
	var out []span
	for i, s := range spans {
		if i+1 < len(spans) && spans[i+1].from == s.from {
			continue // the later one counts
		}
		if n := len(out); n > 0 && same(out[n-1].rule, s.rule) {
			continue
		}
		out = append(out, s)
	}
	return out
}

func same(a, b rule) bool {
	return len(a.conditional) == 0 && len(b.conditional) == 0 && a.fallback == b.fallback
}

// search is a binary search for the number in the accumulator.
func search(spans []span) ([]bpf.Instruction, error) {
	if len(spans) == 1 {
		return leaf(spans[0].rule)
	}
	mid := len(spans) / 2
	left, err := search(spans[:mid])
	if err != nil {
		return nil, err
	}
	right, err := search(spans[mid:])
	if err != nil {
		return nil, err
	}
	var code []bpf.Instruction
	if len(left) <= 255 {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[mid].from, SkipTrue: uint8(len(left))})
	} else { // conditional jumps reach 255 instructions only
		code = append(code, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: spans[mid].from, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(left))})
	}
	return append(append(code, left...), right...), nil
}

// leaf decides about one number. It may destroy the accumulator: nothing follows.
func leaf(r rule) ([]bpf.Instruction, error) {
	var code []bpf.Instruction
	for _, e := range r.conditional {
		block := []bpf.Instruction{bpf.RetConstant{Val: e.action}}
		for _, a := range slices.Backward(e.args) {
			test, err := condition(a, len(block))
			if err != nil {
				return nil, err
			}
			block = append(test, block...)
		}
		code = append(code, block...)
	}
	return append(code, bpf.RetConstant{Val: r.fallback}), nil
}

func filterFlags(p *specs.LinuxSeccomp) (uint32, error) {
	if p.ListenerPath != "" || p.ListenerMetadata != "" {
		return 0, fmt.Errorf("seccomp listenerPath is not supported")
	}
	var flags uint32
	for _, f := range p.Flags {
		switch f {
		case "SECCOMP_FILTER_FLAG_TSYNC": // one thread only: nothing to do
		case specs.LinuxSeccompFlagLog:
			flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		default:
			return 0, fmt.Errorf("seccomp flag %q is not supported", f)
		}
	}
	return flags, nil
}

func action(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	data := uint32(unix.EPERM)
	if errno != nil {
		data = uint32(*errno) & unix.SECCOMP_RET_DATA
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | data, nil
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE | data, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	}
	return 0, fmt.Errorf("action %q is not supported", a)
}
