//go:build linux && amd64

package seccomp

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	x86, i386 = unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386

	allow   = unix.SECCOMP_RET_ALLOW
	eperm   = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	enosys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	killAll = unix.SECCOMP_RET_KILL_PROCESS
)

// machine runs a compiled filter as the kernel does.
type machine struct {
	t  *testing.T
	vm *bpf.VM
}

func compiled(t *testing.T, p *specs.LinuxSeccomp) machine {
	t.Helper()
	f, err := compile(p, true)
	if err != nil {
		t.Fatal(err)
	}
	return running(t, f)
}

func running(t *testing.T, f *Filter) machine {
	t.Helper()
	code, all := bpf.Disassemble(f.Code)
	if !all {
		t.Fatal("the filter has instructions that classic BPF does not know")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	return machine{t, vm}
}

// answer is the verdict on a call. The VM reads words from the network, big end first; the offsets are the kernel's.
func (m machine) answer(audit, number uint32, args ...uint64) uint32 {
	m.t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], audit)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	got, err := m.vm.Run(data)
	if err != nil {
		m.t.Fatal(err)
	}
	return uint32(got)
}

type call struct {
	name   string
	arch   uint32
	number uint32
	args   []uint64
	want   uint32
}

func (m machine) check(t *testing.T, calls []call) {
	t.Helper()
	for _, c := range calls {
		if got := m.answer(c.arch, c.number, c.args...); got != c.want {
			t.Errorf("%s (arch %#x, number %#x, arguments %#x): %#x, want %#x", c.name, c.arch, c.number, c.args, got, c.want)
		}
	}
}

func TestDefaultProfile(t *testing.T) {
	p, err := Default([]string{"CAP_CHOWN", "CAP_NET_RAW"})
	if err != nil {
		t.Fatal(err)
	}
	compiled(t, p).check(t, []call{
		{"read", x86, unix.SYS_READ, nil, allow},
		{"execve", x86, unix.SYS_EXECVE, nil, allow},
		{"mount", x86, unix.SYS_MOUNT, nil, eperm},
		{"setns", x86, unix.SYS_SETNS, nil, eperm},
		{"unshare", x86, unix.SYS_UNSHARE, []uint64{unix.CLONE_NEWUSER}, eperm},
		{"keyctl", x86, unix.SYS_KEYCTL, nil, eperm},
		{"bpf", x86, unix.SYS_BPF, nil, eperm},
		{"init_module", x86, unix.SYS_INIT_MODULE, nil, eperm},
		{"clone of a thread", x86, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, allow},
		{"clone with a user namespace", x86, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm},
		{"clone with a mount namespace", x86, unix.SYS_CLONE, []uint64{unix.CLONE_NEWNS}, eperm},
		{"clone with high bits only", x86, unix.SYS_CLONE, []uint64{1 << 40}, allow},
		{"clone, namespace and high bits", x86, unix.SYS_CLONE, []uint64{1<<40 | unix.CLONE_NEWUSER}, eperm},
		{"clone3, whose flags nobody can look at", x86, unix.SYS_CLONE3, nil, enosys},
		{"personality 0", x86, unix.SYS_PERSONALITY, []uint64{0}, allow},
		{"personality PER_LINUX32", x86, unix.SYS_PERSONALITY, []uint64{8}, allow},
		{"personality UNAME26", x86, unix.SYS_PERSONALITY, []uint64{0x20000}, allow},
		{"personality, ask", x86, unix.SYS_PERSONALITY, []uint64{0xffffffff}, allow},
		{"personality ADDR_NO_RANDOMIZE", x86, unix.SYS_PERSONALITY, []uint64{0x40000}, eperm},
		{"personality, all bits of 64", x86, unix.SYS_PERSONALITY, []uint64{math.MaxUint64}, eperm},
		{"socket AF_INET", x86, unix.SYS_SOCKET, []uint64{unix.AF_INET}, allow},
		{"socket AF_ALG", x86, unix.SYS_SOCKET, []uint64{unix.AF_ALG}, eperm},
		{"socket AF_VSOCK", x86, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, eperm},
		{"a call of the future", x86, 900, nil, enosys},
		{"the last number", x86, x32Bit - 1, nil, enosys},

		{"x32 read", x86, x32Bit | unix.SYS_READ, nil, allow},
		{"x32 execve", x86, x32Bit | 520, nil, allow},
		{"x32 mount", x86, x32Bit | unix.SYS_MOUNT, nil, eperm},
		{"x32 clone with a user namespace", x86, x32Bit | unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, eperm},
		{"x32 of the future", x86, x32Bit | 900, nil, enosys},
		{"number -1", x86, math.MaxUint32, nil, enosys},

		{"i386 read", i386, 3, nil, allow},
		{"i386 mount", i386, 21, nil, eperm},
		{"i386 keyctl", i386, 288, nil, eperm},
		{"i386 clone with a user namespace", i386, 120, []uint64{unix.CLONE_NEWUSER}, eperm},
		{"i386 clone", i386, 120, []uint64{uint64(unix.SIGCHLD)}, allow},
		{"i386 number with x32's bit", i386, x32Bit | 3, nil, enosys},
		{"ARM", unix.AUDIT_ARCH_ARM, 3, nil, killAll},
		{"MIPS", unix.AUDIT_ARCH_MIPS, unix.SYS_READ, nil, killAll},
	})
}

func TestCapabilitiesOpenTheDefaultProfile(t *testing.T) {
	p, err := Default([]string{"CAP_SYS_ADMIN", "CAP_SYS_MODULE"})
	if err != nil {
		t.Fatal(err)
	}
	compiled(t, p).check(t, []call{
		{"mount", x86, unix.SYS_MOUNT, nil, allow},
		{"clone with a user namespace", x86, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, allow},
		{"clone3", x86, unix.SYS_CLONE3, nil, allow},
		{"init_module", x86, unix.SYS_INIT_MODULE, nil, allow},
		{"kexec_load", x86, unix.SYS_KEXEC_LOAD, nil, eperm},
	})
}

// Every operator, around both halves of a 64-bit argument.
func TestOperators(t *testing.T) {
	const v = 0x1_8000_0005
	values := []uint64{0, 5, v - 1, v, v + 1, 0x8000_0005, 0x2_8000_0005, 0x2_0000_0000, 0xffff_ffff, 0x1_0000_0000, 1 << 63, math.MaxUint64}
	const mask, masked = 0xf_0000_000f, 0x1_0000_0005
	for op, holds := range map[specs.LinuxSeccompOperator]func(uint64) bool{
		specs.OpEqualTo:      func(a uint64) bool { return a == v },
		specs.OpNotEqual:     func(a uint64) bool { return a != v },
		specs.OpGreaterThan:  func(a uint64) bool { return a > v },
		specs.OpGreaterEqual: func(a uint64) bool { return a >= v },
		specs.OpLessThan:     func(a uint64) bool { return a < v },
		specs.OpLessEqual:    func(a uint64) bool { return a <= v },
		specs.OpMaskedEqual:  func(a uint64) bool { return a&mask == masked },
	} {
		arg := specs.LinuxSeccompArg{Index: 3, Op: op, Value: v}
		if op == specs.OpMaskedEqual {
			arg.Value, arg.ValueTwo = mask, masked
		}
		m := compiled(t, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{arg}}}})
		for _, a := range values {
			want := eperm
			if holds(a) {
				want = allow
			}
			if got := m.answer(x86, unix.SYS_READ, 9, 9, 9, a); got != want {
				t.Errorf("%s %#x: %#x, want %#x", op, a, got, want)
			}
		}
	}
}

func equal(index uint, v uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Op: specs.OpEqualTo, Value: v}
}

// Conditions on different arguments must all hold, on one argument they are alternatives, rules of one call add up.
func TestConditions(t *testing.T) {
	two := uint(2)
	m := compiled(t, &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{equal(0, 1), equal(1, 2)}},
		{Names: []string{"read"}, Action: specs.ActErrno, ErrnoRet: &two, Args: []specs.LinuxSeccompArg{equal(0, 7)}},
		{Names: []string{"write"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{equal(0, 1), equal(0, 2)}},
		{Names: []string{"close"}, Action: specs.ActKillProcess, Args: []specs.LinuxSeccompArg{equal(0, 13)}},
		{Names: []string{"close", "no_such_call"}, Action: specs.ActAllow},
	}})
	m.check(t, []call{
		{"both", x86, unix.SYS_READ, []uint64{1, 2}, allow},
		{"first only", x86, unix.SYS_READ, []uint64{1, 3}, eperm},
		{"second only", x86, unix.SYS_READ, []uint64{0, 2}, eperm},
		{"another rule", x86, unix.SYS_READ, []uint64{7, 2}, unix.SECCOMP_RET_ERRNO | 2},
		{"one alternative", x86, unix.SYS_WRITE, []uint64{1}, allow},
		{"the other", x86, unix.SYS_WRITE, []uint64{2}, allow},
		{"neither", x86, unix.SYS_WRITE, []uint64{3}, eperm},
		{"a condition before the rule for all", x86, unix.SYS_CLOSE, []uint64{13}, killAll},
		{"the rule for all", x86, unix.SYS_CLOSE, []uint64{14}, allow},
	})
}

// A profile that names what is forbidden must not be walked around by another way into the kernel.
func TestDenyList(t *testing.T) {
	list := func(archs ...specs.Arch) *specs.LinuxSeccomp {
		return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: archs,
			Syscalls: []specs.LinuxSyscall{{Names: []string{"mount"}, Action: specs.ActErrno}}}
	}
	compiled(t, list()).check(t, []call{
		{"mount", x86, unix.SYS_MOUNT, nil, eperm},
		{"read", x86, unix.SYS_READ, nil, allow},
		{"the future", x86, 900, nil, allow},
		{"x32 mount", x86, x32Bit | unix.SYS_MOUNT, nil, enosys},
		{"x32 read", x86, x32Bit | unix.SYS_READ, nil, enosys},
		{"i386 mount", i386, 21, nil, killAll},
		{"i386 read", i386, 3, nil, killAll},
	})
	compiled(t, list(specs.ArchX86_64, specs.ArchX86, specs.ArchX32)).check(t, []call{
		{"x32 mount", x86, x32Bit | unix.SYS_MOUNT, nil, eperm},
		{"x32 read", x86, x32Bit | unix.SYS_READ, nil, allow},
		{"i386 mount", i386, 21, nil, eperm},
		{"i386 read", i386, 3, nil, allow},
	})
}

// Where there is no x32, a filter answers for the kernel and is shorter for it.
func TestKernelWithoutX32(t *testing.T) {
	p, err := Default(nil)
	if err != nil {
		t.Fatal(err)
	}
	with, err := compile(p, true)
	if err != nil {
		t.Fatal(err)
	}
	without, err := compile(p, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(without.Code)*4 > len(with.Code)*3 {
		t.Errorf("%d instructions, with x32 %d", len(without.Code), len(with.Code))
	}
	running(t, without).check(t, []call{
		{"read", x86, unix.SYS_READ, nil, allow}, {"mount", x86, unix.SYS_MOUNT, nil, eperm}, {"i386 read", i386, 3, nil, allow},
		{"x32 read", x86, x32Bit | unix.SYS_READ, nil, enosys}, {"x32 mount", x86, x32Bit | unix.SYS_MOUNT, nil, enosys},
		{"x32 execve", x86, x32Bit | 520, nil, enosys}, {"the last number", x86, x32Bit - 1, nil, enosys},
	})
}

// The binary search finds every number: compared with looking each up in a list.
func TestSearchFindsEveryNumber(t *testing.T) {
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	want := map[uint32]uint32{}
	table, _ := tables(nil, true)
	last := uint32(0)
	for name, n := range table[0].numbers {
		if n%3 == 0 || n < 20 {
			errno := uint(n + 1)
			p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &errno})
			want[uint32(n)] = unix.SECCOMP_RET_ERRNO | uint32(errno)
			last = max(last, uint32(n))
		}
	}
	m := compiled(t, p)
	for n := range uint32(600) {
		w, ok := want[n]
		if !ok {
			w = eperm
		}
		if n > last {
			w = enosys
		}
		if got := m.answer(x86, n); got != w {
			t.Errorf("number %d: %#x, want %#x", n, got, w)
		}
	}
}

func TestDefaultProfileIsQuick(t *testing.T) {
	p, err := Default(nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Code) > maxInstructions/2 || len(f.Bytes()) != 8*len(f.Code) {
		t.Errorf("%d instructions in %d bytes", len(f.Code), len(f.Bytes()))
	}
	// Steps to the verdict on read: the longest path of a search is what every call pays.
	var acc uint32
	steps := 0
	for i := 0; i < len(f.Code); i++ {
		steps++
		if f.Code[i].Op == unix.BPF_RET|unix.BPF_K {
			break
		}
		i += jump(f.Code[i], map[uint32]uint32{offArch: x86, offNumber: unix.SYS_READ}, &acc)
	}
	if steps > 30 {
		t.Errorf("read takes %d instructions", steps)
	}
}

// jump says how many instructions are skipped after i.
func jump(i bpf.RawInstruction, words map[uint32]uint32, a *uint32) int {
	taken := false
	switch i.Op {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		*a = words[i.K]
		return 0
	case unix.BPF_JMP | unix.BPF_JA:
		return int(i.K)
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
		taken = *a == i.K
	case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
		taken = *a >= i.K
	case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
		taken = *a > i.K
	default:
		panic(fmt.Sprintf("instruction %#x", i.Op))
	}
	if taken {
		return int(i.Jt)
	}
	return int(i.Jf)
}

func TestRefuses(t *testing.T) {
	base := func(change func(*specs.LinuxSeccomp)) *specs.LinuxSeccomp {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		change(p)
		return p
	}
	rule := func(s specs.LinuxSyscall) *specs.LinuxSeccomp {
		return base(func(p *specs.LinuxSeccomp) { p.Syscalls = []specs.LinuxSyscall{s} })
	}
	for name, p := range map[string]*specs.LinuxSeccomp{
		"listener":       base(func(p *specs.LinuxSeccomp) { p.ListenerPath = "/x" }),
		"flag":           base(func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_NEW"} }),
		"default action": base(func(p *specs.LinuxSeccomp) { p.DefaultAction = "SCMP_ACT_HOPE" }),
		"notify":         rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActNotify}),
		"operator":       rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_LIKE"}}}),
		"argument 6":     rule(specs.LinuxSyscall{Names: []string{"read"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{equal(6, 0)}}),
	} {
		if _, err := Compile(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var c Cache
	if _, err := c.Compile([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","hope":1}`)); err == nil {
		t.Error("an unknown field was accepted")
	}
}

func TestFlagsAndCache(t *testing.T) {
	text, err := json.Marshal(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow,
		Flags: []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow}})
	if err != nil {
		t.Fatal(err)
	}
	var c Cache
	f, err := c.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	if f.Flags != unix.SECCOMP_FILTER_FLAG_LOG|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW {
		t.Errorf("flags %#x", f.Flags)
	}
	again, err := c.Compile(slices.Clone(text))
	if err != nil || again != f {
		t.Errorf("the second time: another filter, %v", err)
	}
	for i := range maxCached + 10 {
		if _, err := c.Compile(fmt.Appendf(nil, `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.filters); n > maxCached {
		t.Errorf("%d filters are kept, want at most %d", n, maxCached)
	}
}
