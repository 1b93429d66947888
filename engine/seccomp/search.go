//go:build linux

package seccomp

import (
	"slices"

	"golang.org/x/net/bpf"
)

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
