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
	for _, same := range byArch(list) {
		body, err := archBody(p, def, same)
		if err != nil {
			return nil, err
		}
		code = append(code, skipUnless(same[0].audit, body)...)
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

// byArch puts the tables with one AUDIT_ARCH together, in the order in which they came.
func byArch(list []table) [][]table {
	var groups [][]table
	at := map[uint32]int{}
	for _, t := range list {
		i, seen := at[t.audit]
		if !seen {
			i, groups = len(groups), append(groups, nil)
			at[t.audit] = i
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// skipUnless goes past body if the call is not of this architecture.
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
