//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Numbers of struct bpf_cgroup_dev_ctx.
const (
	bpfBlock, bpfChar       = 1, 2
	bpfMknod, bpfR, bpfW    = 1, 2, 4
	offType, offMaj, offMin = 0, 4, 8
)

// attachDevices replaces the device filter of a version 2 group.
func attachDevices(dir string, rules []specs.LinuxDeviceCgroup) error {
	code, err := deviceProgram(rules)
	if err != nil {
		return err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupDevice, Instructions: code, License: "Apache-2.0"})
	if err != nil {
		return fmt.Errorf("load device filter: %w", err)
	}
	defer prog.Close()
	group, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer group.Close()
	old, err := attachedDevices(int(group.Fd()))
	if err != nil {
		return err
	}
	// The new one first: for a moment both must agree, never none.
	err = link.RawAttachProgram(link.RawAttachProgramOptions{Target: int(group.Fd()), Program: prog, Attach: ebpf.AttachCGroupDevice, Flags: attachMulti})
	if err != nil {
		return fmt.Errorf("attach device filter: %w", err)
	}
	for _, id := range old {
		if err := detachDevices(int(group.Fd()), id); err != nil {
			return err
		}
	}
	return nil
}

// attachMulti is BPF_F_ALLOW_MULTI: programs of outer groups run as well.
const attachMulti = 1 << 1

func attachedDevices(group int) ([]ebpf.ProgramID, error) {
	q, err := link.QueryPrograms(link.QueryOptions{Target: group, Attach: ebpf.AttachCGroupDevice})
	if err != nil {
		return nil, fmt.Errorf("query device filters: %w", err)
	}
	var ids []ebpf.ProgramID
	for _, p := range q.Programs {
		ids = append(ids, p.ID)
	}
	return ids, nil
}

func detachDevices(group int, id ebpf.ProgramID) error {
	prog, err := ebpf.NewProgramFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find old device filter: %w", err)
	}
	defer prog.Close()
	if err := link.RawDetachProgram(link.RawDetachProgramOptions{Target: group, Program: prog, Attach: ebpf.AttachCGroupDevice}); err != nil {
		return fmt.Errorf("detach old device filter: %w", err)
	}
	return nil
}

// deviceProgram is a chain of comparisons, the last rule first: the latest rule
// that covers an access decides about it, and nothing is allowed by default. A
// request for several kinds of access at once is denied if any of them is.
func deviceProgram(rules []specs.LinuxDeviceCgroup) (asm.Instructions, error) {
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, offType, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.And.Imm(asm.R2, 0xffff), // type
		asm.RSh.Imm(asm.R3, 16),     // access
		asm.LoadMem(asm.R4, asm.R1, offMaj, asm.Word),
		asm.LoadMem(asm.R5, asm.R1, offMin, asm.Word),
	}
	n := 0
	for _, r := range slices.Backward(rules) {
		r, err := deviceRule(r)
		if err != nil {
			return nil, err
		}
		next := fmt.Sprintf("rule%d", n+1)
		block := ruleInstructions(r, next)
		block[0] = block[0].WithSymbol(fmt.Sprintf("rule%d", n))
		code = append(code, block...)
		n++
		if r.Type == "a" && accessBits(r.Access) == bpfMknod|bpfR|bpfW {
			break // nothing behind it can matter
		}
	}
	return append(code, asm.Mov.Imm(asm.R0, 0).WithSymbol(fmt.Sprintf("rule%d", n)), asm.Return()), nil
}

func accessBits(s string) int32 {
	var m int32
	for i, c := range "mrw" {
		if strings.ContainsRune(s, c) {
			m |= 1 << i
		}
	}
	return m
}

func ruleInstructions(r specs.LinuxDeviceCgroup, next string) asm.Instructions {
	code := asm.Instructions{asm.Mov.Reg(asm.R1, asm.R3)}
	if bits := accessBits(r.Access); r.Allow {
		// All that is asked for must be in the rule.
		code = append(code, asm.And.Imm(asm.R1, ^bits&7), asm.JNE.Imm(asm.R1, 0, next))
	} else {
		// Any of what is asked for.
		code = append(code, asm.And.Imm(asm.R1, bits), asm.JEq.Imm(asm.R1, 0, next))
	}
	switch r.Type {
	case "b":
		code = append(code, asm.JNE.Imm(asm.R2, bpfBlock, next))
	case "c":
		code = append(code, asm.JNE.Imm(asm.R2, bpfChar, next))
	}
	if !anyNumber(r.Major) {
		code = append(code, asm.JNE.Imm(asm.R4, int32(*r.Major), next))
	}
	if !anyNumber(r.Minor) {
		code = append(code, asm.JNE.Imm(asm.R5, int32(*r.Minor), next))
	}
	verdict := int32(0)
	if r.Allow {
		verdict = 1
	}
	return append(code, asm.Mov.Imm(asm.R0, verdict), asm.Return())
}
