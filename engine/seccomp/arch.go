//go:build linux

package seccomp

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// table is one instruction set with its system calls.
type table struct {
	audit   uint32 // AUDIT_ARCH_*
	mask    uint32 // or-ed into every number (x32)
	x32Bit  uint32 // the bit that turns a number into one of x32, if there is such a thing
	numbers map[string]int
}

// x32Bit tells x32's calls from x86-64's.
const x32Bit = 1 << 30

// x32Only are the calls that x32 has under numbers of its own. Calls that it shares
// with x86-64 keep their number, but for the ones listed here.
var x32Only = map[string]int{
	"rt_sigaction": 512, "rt_sigreturn": 513, "ioctl": 514, "readv": 515, "writev": 516, "recvfrom": 517, "sendmsg": 518,
	"recvmsg": 519, "execve": 520, "ptrace": 521, "rt_sigpending": 522, "rt_sigtimedwait": 523, "rt_sigqueueinfo": 524,
	"sigaltstack": 525, "timer_create": 526, "mq_notify": 527, "kexec_load": 528, "waitid": 529, "set_robust_list": 530,
	"get_robust_list": 531, "vmsplice": 532, "move_pages": 533, "preadv": 534, "pwritev": 535, "rt_tgsigqueueinfo": 536,
	"recvmmsg": 537, "sendmmsg": 538, "process_vm_readv": 539, "process_vm_writev": 540, "setsockopt": 541, "getsockopt": 542,
	"io_setup": 543, "io_submit": 544, "execveat": 545, "preadv2": 546, "pwritev2": 547,
}

func x32Table() table {
	t := fromInfo(arch.X86_64)
	numbers := make(map[string]int, len(t.numbers))
	for name, n := range t.numbers {
		numbers[name] = n
	}
	for name, n := range x32Only {
		numbers[name] = n
	}
	return table{audit: t.audit, mask: x32Bit, numbers: numbers}
}

func fromInfo(i *arch.Info) table {
	return table{audit: uint32(i.ID), numbers: i.SyscallNames}
}

// newer are calls that the library's tables may lack: numbers are the same everywhere.
var newer = map[string]int{
	"cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456,
	"statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462,
	"setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467,
	"file_getattr": 468, "file_setattr": 469,
}

// number is a call's number and whether this instruction set has it.
func (t table) number(name string) (uint32, bool) {
	n, ok := t.numbers[name]
	if !ok {
		n, ok = newer[name]
	}
	return uint32(n) | t.mask, ok
}

// kernelRunsX32 asks the kernel: distributions build it without, or switched off. A third of a filter is for x32 alone, and
// the kernel translates a filter anew for every process that loads it.
var kernelRunsX32 = sync.OnceValue(func() bool {
	_, _, err := unix.RawSyscall(unix.SYS_GETPID|x32Bit, 0, 0, 0)
	return err != unix.ENOSYS
})

// tables are those that a profile covers: the native one always comes first, others
// only if they can run on this machine.
func tables(list []specs.Arch, x32 bool) ([]table, error) {
	switch runtime.GOARCH {
	case "amd64":
		native := fromInfo(arch.X86_64)
		native.x32Bit = x32Bit
		out := []table{native}
		for _, a := range list {
			switch a {
			case specs.ArchX86:
				out = append(out, fromInfo(arch.I386))
			case specs.ArchX32:
				if x32 {
					out = append(out, x32Table())
				}
			}
		}
		return out, nil
	case "arm64":
		out := []table{fromInfo(arch.AARCH64)}
		for _, a := range list {
			if a == specs.ArchARM {
				out = append(out, fromInfo(arch.ARM))
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("seccomp filters are not supported on %s", runtime.GOARCH)
}
