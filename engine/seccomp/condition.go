//go:build linux

package seccomp

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// condition tests one 64-bit argument in two halves. When it does not hold, the
// code behind it, rest instructions long, is skipped.
func condition(a specs.LinuxSeccompArg, rest int) ([]bpf.Instruction, error) {
	if rest > 200 {
		return nil, fmt.Errorf("seccomp rule with too many conditions")
	}
	lo, hi := offArgs+8*uint32(a.Index), offArgs+8*uint32(a.Index)+4
	loadLo, loadHi := bpf.LoadAbsolute{Off: lo, Size: 4}, bpf.LoadAbsolute{Off: hi, Size: 4}
	vlo, vhi := uint32(a.Value), uint32(a.Value>>32)
	miss := uint8(rest)
	switch a.Op {
	case specs.OpEqualTo:
		return []bpf.Instruction{
			loadHi, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vhi, SkipFalse: miss + 2},
			loadLo, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vlo, SkipFalse: miss},
		}, nil
	case specs.OpNotEqual:
		return []bpf.Instruction{
			loadHi, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vhi, SkipFalse: 2},
			loadLo, bpf.JumpIf{Cond: bpf.JumpEqual, Val: vlo, SkipTrue: miss},
		}, nil
	case specs.OpMaskedEqual: // value is the mask, valueTwo what must remain
		return []bpf.Instruction{
			loadHi, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: vhi},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(a.ValueTwo >> 32), SkipFalse: miss + 3},
			loadLo, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: vlo},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(a.ValueTwo), SkipFalse: miss},
		}, nil
	case specs.OpGreaterThan:
		return order(loadHi, loadLo, vhi, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: vlo, SkipFalse: miss}, true, miss), nil
	case specs.OpGreaterEqual:
		return order(loadHi, loadLo, vhi, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: vlo, SkipFalse: miss}, true, miss), nil
	case specs.OpLessThan:
		return order(loadHi, loadLo, vhi, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: vlo, SkipTrue: miss}, false, miss), nil
	case specs.OpLessEqual:
		return order(loadHi, loadLo, vhi, bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: vlo, SkipTrue: miss}, false, miss), nil
	}
	return nil, fmt.Errorf("seccomp operator %q is not supported", a.Op)
}

// order compares the high halves and, if they are equal, lets low decide. greater
// says which way an unequal high half means that the condition holds.
func order(loadHi, loadLo bpf.Instruction, vhi uint32, low bpf.JumpIf, greater bool, miss uint8) []bpf.Instruction {
	above := bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: vhi, SkipTrue: 3} // to the end: holds
	differs := bpf.JumpIf{Cond: bpf.JumpEqual, Val: vhi, SkipFalse: miss + 2}
	if !greater {
		above = bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: vhi, SkipTrue: miss + 3}
		differs = bpf.JumpIf{Cond: bpf.JumpEqual, Val: vhi, SkipFalse: 2}
	}
	return []bpf.Instruction{loadHi, above, differs, loadLo, low}
}
