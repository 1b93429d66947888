//go:build linux

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shoal-dev/shoal/e2e/vm/control"
)

// Config describes a machine.
type Config struct {
	Name   string
	Dir    string // for its socket, console and disk; short, a socket's path has at most 107 bytes
	Kernel string // an ELF
	Root   string // an initramfs
	Boot   string // more for the kernel's command line
	Memory int    // MiB
	CPUs   int
	Number int // in its addresses; 0: no network card
	Switch int // UDP port of the multicast group that is the Ethernet between machines
}

// Machine runs. Close it.
type Machine struct {
	cfg  Config
	cmd  *exec.Cmd
	conn net.Conn
	in   *json.Decoder
}

// Start boots a machine and returns when it takes scripts.
func Start(ctx context.Context, cfg Config) (*Machine, error) {
	m := &Machine{cfg: cfg}
	if err := m.boot(ctx); err != nil {
		return nil, fmt.Errorf("start machine %s: %w\n%s", cfg.Name, err, m.consoleAndClose())
	}
	return m, nil
}

func (m *Machine) consoleAndClose() string {
	text := m.Console()
	m.Close()
	return text
}

func (m *Machine) boot(ctx context.Context) error {
	if err := os.MkdirAll(m.cfg.Dir, 0o755); err != nil {
		return err
	}
	l, err := net.Listen("unix", m.path("control"))
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := os.Stat(m.path("disk")); err != nil {
		if err := makeDisk(m.path("disk"), 2<<30); err != nil {
			return err
		}
	}
	m.cmd = exec.Command("qemu-system-x86_64", m.arguments()...)
	var said bytes.Buffer
	m.cmd.Stdout, m.cmd.Stderr = &said, &said
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.cmd = nil
		return fmt.Errorf("%w: deploy/deps-vm.sh installs it", err)
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	l.(*net.UnixListener).SetDeadline(time.Now().Add(10 * time.Second))
	if m.conn, err = l.Accept(); err != nil {
		return fmt.Errorf("QEMU does not answer: %w: %s", err, said.String())
	}
	m.in = json.NewDecoder(m.conn)
	return m.answers(ctx, io.Discard) // the first says that it is ready
}

// makeDisk makes an empty file system in a file that takes no room before it is written to.
func makeDisk(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, size); err != nil {
		return err
	}
	out, err := exec.Command("mkfs.ext4", "-q", "-F", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.cfg.Dir, name) }

// Addr and Addr6 are the machine's addresses on the network between machines.
func (m *Machine) Addr() string  { return fmt.Sprintf("10.77.0.%d", m.cfg.Number) }
func (m *Machine) Addr6() string { return fmt.Sprintf("fd77::%d", m.cfg.Number) }

// An emulated processor is quick at simple instructions. The kernel is not to choose those that are one loop of bytes
// (rep stosb: a third of all time went into clearing pages) or one call of the emulator each (AVX, reading the HPET).
// Nor is it to see whether its timer ticks: where this machine is busy it does not, for as long as the kernel looks.
const (
	chipset   = "pc,hpet=off"
	processor = "max,-erms,-avx,-avx2"
	asQuick   = "clearcpuid=rep_good tsc=reliable no_timer_check mitigations=off"
)

// arguments: nothing is emulated that is not needed. The machine has no way out but the sockets named here.
func (m *Machine) arguments() []string {
	args := []string{"-M", chipset, "-accel", "tcg,thread=multi", "-cpu", processor, "-smp", strconv.Itoa(m.cfg.CPUs), "-m", strconv.Itoa(m.cfg.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.cfg.Kernel, "-initrd", m.cfg.Root,
		"-drive", "if=virtio,format=raw,cache=unsafe,file=" + m.path("disk"),
		"-serial", "file:" + m.path("console"),
		"-chardev", "socket,id=control,path=" + m.path("control"), "-serial", "chardev:control"}
	boot := "console=ttyS0 quiet panic=-1 " + asQuick + " vm.name=" + m.cfg.Name + " " + m.cfg.Boot
	if m.cfg.Number > 0 {
		boot += fmt.Sprintf(" vm.addr=%s/24,%s/64", m.Addr(), m.Addr6())
		args = append(args, "-netdev", fmt.Sprintf("socket,id=lan,mcast=230.77.0.1:%d,localaddr=127.0.0.1", m.cfg.Switch),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=lan,romfile=,mac=52:54:00:77:00:%02x", m.cfg.Number))
	}
	return append(args, "-append", boot)
}

// Run runs a shell script as root inside and copies its output, both streams together. One at a time.
func (m *Machine) Run(ctx context.Context, script string, out io.Writer) error {
	if err := json.NewEncoder(m.conn).Encode(control.Request{Script: script}); err != nil {
		return fmt.Errorf("%s: %w", m.cfg.Name, err)
	}
	return m.answers(ctx, out)
}

// Output runs a script and returns what it said, which is in the error as well.
func (m *Machine) Output(ctx context.Context, script string) (string, error) {
	var out bytes.Buffer
	if err := m.Run(ctx, script, &out); err != nil {
		return out.String(), fmt.Errorf("%s: %s: %w: %s", m.cfg.Name, script, err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

func (m *Machine) answers(ctx context.Context, out io.Writer) error {
	stop := context.AfterFunc(ctx, func() { m.conn.SetReadDeadline(time.Now()) })
	defer stop()
	for {
		var a control.Answer
		if err := m.in.Decode(&a); err != nil {
			return fmt.Errorf("the machine does not answer: %w", err)
		}
		if _, err := out.Write(a.Output); err != nil {
			return err
		}
		if a.Done && a.Code != 0 {
			return fmt.Errorf("exit code %d", a.Code)
		}
		if a.Done {
			return nil
		}
	}
}

// Console is what the kernel and init have said.
func (m *Machine) Console() string {
	b, _ := os.ReadFile(m.path("console"))
	return string(b)
}

// Memory is the resident memory of the emulator, in bytes.
func (m *Machine) Memory() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.cmd.Process.Pid))
	var size, resident int
	fmt.Sscan(string(b), &size, &resident)
	return resident * os.Getpagesize()
}

// Close is a power cut, and the machine is thrown away.
func (m *Machine) Close() {
	m.cut()
	os.RemoveAll(m.cfg.Dir)
}

// PowerCut takes the power away and gives it back: what the machine had not told its disk to keep may be lost.
func (m *Machine) PowerCut(ctx context.Context) error {
	m.cut()
	if err := os.Remove(m.path("control")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := m.boot(ctx); err != nil {
		return fmt.Errorf("start machine %s again: %w\n%s", m.cfg.Name, err, m.Console())
	}
	return nil
}

func (m *Machine) cut() {
	if m.conn != nil {
		m.conn.Close()
	}
	if m.cmd != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait()
	}
}
