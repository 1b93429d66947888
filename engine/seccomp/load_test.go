//go:build linux && amd64

package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// filtered in the environment makes the test's own program a process that loads the filter and tries calls.
const filtered = "SHOAL_TEST_SECCOMP"

func TestMain(m *testing.M) {
	if program := os.Getenv(filtered); program != "" {
		if err := tryCalls(program); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The kernel takes the filter and answers what the interpreter said, on all three ways into it.
func TestFilterInTheKernel(t *testing.T) {
	program := filepath.Join(t.TempDir(), "i386")
	if err := os.WriteFile(program, i386Program(), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), filtered+"="+program)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := `getpid: ok
clone3: function not implemented
unshare: operation not permitted
keyctl: operation not permitted
personality ADDR_NO_RANDOMIZE: operation not permitted
personality ask: ok
socket AF_ALG: operation not permitted
of the future: function not implemented
mount by x32: operation not permitted
i386 runs and gets for keyctl: operation not permitted
`
	if !kernelRunsX32() {
		want = strings.Replace(want, "mount by x32: operation not permitted", "mount by x32: function not implemented", 1)
	}
	got := string(out)
	if strings.Contains(got, "no i386") {
		t.Log("NOT TESTED: this kernel does not run i386 programs")
		want = strings.Replace(want, "i386 runs and gets for keyctl: operation not permitted", "no i386", 1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls under the filter (-want +got):\n%s", diff)
	}
}

func tryCalls(i386Path string) error {
	runtime.LockOSThread()
	p, err := Default(nil)
	if err != nil {
		return err
	}
	f, err := Compile(p)
	if err != nil {
		return err
	}
	if err := load(f); err != nil {
		return err
	}
	for _, c := range []struct {
		name      string
		number, a uintptr
	}{
		{"getpid", unix.SYS_GETPID, 0},
		{"clone3", unix.SYS_CLONE3, 0},
		{"unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER},
		{"keyctl", unix.SYS_KEYCTL, 0},
		{"personality ADDR_NO_RANDOMIZE", unix.SYS_PERSONALITY, 0x40000},
		{"personality ask", unix.SYS_PERSONALITY, 0xffffffff},
		{"socket AF_ALG", unix.SYS_SOCKET, unix.AF_ALG},
		{"of the future", 900, 0},
		{"mount by x32", x32Bit | unix.SYS_MOUNT, 0},
	} {
		_, _, errno := unix.RawSyscall(c.number, c.a, 0, 0)
		fmt.Printf("%s: %s\n", c.name, verdict(errno))
	}
	err = exec.Command(i386Path).Run()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, unix.ENOEXEC):
		fmt.Println("no i386")
	case errors.As(err, &exit) && exit.Exited():
		fmt.Printf("i386 runs and gets for keyctl: %s\n", verdict(syscall.Errno(exit.ExitCode())))
	default:
		return fmt.Errorf("run i386 program: %w", err)
	}
	return nil
}

func verdict(errno syscall.Errno) string {
	if errno == 0 {
		return "ok"
	}
	return errno.Error()
}

// load puts the filter on all threads of this process.
func load(f *Filter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no new privileges: %w", err)
	}
	code := f.Bytes()
	prog := unix.SockFprog{Len: uint16(len(f.Code)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("load filter: %w", errno)
	}
	return nil
}

// i386Program is an executable for i386 that ends with the error number of keyctl.
func i386Program() []byte {
	code := []byte{
		0xb8, 0x20, 0x01, 0, 0, // mov eax, 288 (keyctl)
		0x31, 0xdb, // xor ebx, ebx
		0xcd, 0x80, // int 0x80
		0xf7, 0xd8, // neg eax
		0x89, 0xc3, // mov ebx, eax
		0xb8, 1, 0, 0, 0, // mov eax, 1 (exit)
		0xcd, 0x80, // int 0x80
	}
	const base, header, segment = 0x8048000, 52, 32
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 9)...)
	for _, v := range []uint16{2, 3} { // executable, i386
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint32{1, base + header + segment, header, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{header, segment, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	size := uint32(header + segment + len(code))
	for _, v := range []uint32{1, 0, base, base, size, size, 5, 0x1000} { // one segment, readable and executable
		b = le.AppendUint32(b, v)
	}
	return append(b, code...)
}
