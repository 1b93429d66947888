//go:build linux

package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/thread"
)

// Host is one machine of the lab.
type Host struct {
	Name        string
	Dir         string
	Addr, Addr6 netip.Addr

	lab  *Lab
	bin  string // the shoal binary
	ns   netns.NsHandle
	port string // its plug in the switch
	cmd  *exec.Cmd
	done chan error
	log  *os.File
	args []string
}

// Use has the next daemon and the next command line be of another binary: an upgrade, or the way back.
func (h *Host) Use(bin string) { h.bin = bin }

// Socket is where the host's daemon answers.
func (h *Host) Socket() string { return "unix://" + filepath.Join(h.Dir, "run", "shoal.sock") }

// CgroupParent is the name below which all of the host's containers are.
func (h *Host) CgroupParent() string { return "shoal-" + h.Name }

// LogPath is the daemon's log.
func (h *Host) LogPath() string { return filepath.Join(h.Dir, "daemon.log") }

// Start runs the daemon and returns when its socket answers. args replace those of the start before, if any are given.
func (h *Host) Start(ctx context.Context, args ...string) error {
	if err := os.MkdirAll(h.Dir, 0o755); err != nil {
		return err
	}
	if err := memoryDir(filepath.Join(h.Dir, "run")); err != nil {
		return err
	}
	if len(args) > 0 {
		h.args = args
	}
	f, err := os.OpenFile(h.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	all := append([]string{"daemon", "--data-dir", filepath.Join(h.Dir, "data"), "--run-dir", filepath.Join(h.Dir, "run"),
		"--hostname", h.Name, "--advertise-addr", h.Addr.String(), "--cgroup-parent", h.CgroupParent()}, h.args...)
	cmd := exec.Command(h.bin, all...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(os.Environ(), h.lab.cfg.Env...)
	if err := h.Inside(cmd.Start); err != nil {
		f.Close()
		return fmt.Errorf("start daemon of %s: %w", h.Name, err)
	}
	h.cmd, h.log, h.done = cmd, f, make(chan error, 1)
	go func(done chan error) { done <- cmd.Wait() }(h.done)
	return h.ready(ctx)
}

// memoryDir makes a directory in memory, as /run is. One that is there stays.
func memoryDir(dir string) error {
	var st unix.Statfs_t
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if err := unix.Statfs(dir, &st); err != nil || st.Type == unix.TMPFS_MAGIC {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=711"); err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", dir, err)
	}
	return nil
}

func (h *Host) ready(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	path := strings.TrimPrefix(h.Socket(), "unix://")
	for {
		if c, err := net.Dial("unix", path); err == nil {
			return c.Close()
		}
		select {
		case err := <-h.done:
			h.done <- err
			tail, _ := os.ReadFile(h.LogPath())
			return fmt.Errorf("daemon of %s ended: %v\n%s", h.Name, err, last(tail, 2000))
		case <-ctx.Done():
			return fmt.Errorf("daemon of %s does not answer: %w", h.Name, ctx.Err())
		case <-tick.C:
		}
	}
}

func last(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// Pid of the daemon, 0 if it does not run.
func (h *Host) Pid() int {
	if h.cmd == nil {
		return 0
	}
	return h.cmd.Process.Pid
}

// Signal ends the daemon with sig and waits for it. Its containers are left alone.
func (h *Host) Signal(sig syscall.Signal) error {
	if h.cmd == nil {
		return nil
	}
	err := h.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-h.done
	h.log.Close()
	h.cmd = nil
	return err
}

// Die is a power cut: the link goes, then the daemon and every process of every container, all with SIGKILL.
func (h *Host) Die() error {
	err := h.SetLink(false)
	return errors.Join(err, h.Signal(syscall.SIGKILL), h.KillContainers())
}

// SetLink cuts the host off the switch, or plugs it in again.
func (h *Host) SetLink(on bool) error {
	sw, err := netlink.NewHandleAt(h.lab.sw)
	if err != nil {
		return err
	}
	defer sw.Close()
	p, err := sw.LinkByName(h.port)
	if err != nil {
		return fmt.Errorf("find the plug of %s: %w", h.Name, err)
	}
	if on {
		return sw.LinkSetUp(p)
	}
	return sw.LinkSetDown(p)
}

// KillContainers kills all processes below the host's cgroup, and their shims; on version 1 what is paused dies when it goes on.
func (h *Host) KillContainers() error {
	for _, pid := range h.Pids() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	frozen, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/freezer", h.CgroupParent(), "*", "freezer.state"))
	for _, file := range frozen {
		if err := os.WriteFile(file, []byte("THAWED"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("let go of what is paused: %w", err)
		}
	}
	return nil
}

// Pids are the processes of the host's containers and shims: those in its cgroups, and those whose command line or
// environment names its run directory.
func (h *Host) Pids() []int {
	found := map[int]bool{}
	for _, root := range []string{"pids", "memory", "cpu", "freezer", "unified", ""} {
		filepath.WalkDir(filepath.Join("/sys/fs/cgroup", root, h.CgroupParent()), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "cgroup.procs" {
				b, _ := os.ReadFile(path)
				for _, f := range strings.Fields(string(b)) {
					if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
						found[pid] = true
					}
				}
			}
			return nil
		})
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, _ := os.ReadFile(p)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil && bytes.Contains(b, []byte(h.Dir+"/run")) && pid != h.Pid() {
			found[pid] = true
		}
	}
	var pids []int
	for pid := range found {
		pids = append(pids, pid)
	}
	return pids
}

// destroy ends everything of the host. The order matters: a daemon would repair what is removed under it.
func (h *Host) destroy() error {
	errs := []error{h.Signal(syscall.SIGKILL), h.KillContainers()}
	removeCgroups(h.CgroupParent())
	errs = append(errs, unmountBelow(h.Dir), h.ns.Close(), netns.DeleteNamed(h.Name))
	return errors.Join(errs...)
}

// CLI runs the command line on this host and returns what it printed. The error carries its one line.
func (h *Host) CLI(ctx context.Context, args ...string) (string, error) {
	return h.CLIWith(ctx, nil, args...)
}

// CLIWith does so with a standard input.
func (h *Host) CLIWith(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := h.Command(ctx, args...)
	cmd.Stdin = stdin
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := h.Inside(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: shoal %s: %w: %s", h.Name, strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// Command is a command line of this host, not started yet: start it with Inside.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, h.bin, append([]string{"-H", h.Socket()}, args...)...)
}

// HTTP is a client that connects from this host, anew for every request.
func (h *Host) HTTP(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.Dial}}
}

// Dial connects from this host; the address must be numeric.
func (h *Host) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = h.Inside(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Get fetches a page from this host.
func (h *Host) Get(ctx context.Context, url string, timeout time.Duration) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := h.HTTP(timeout).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(b), err
}

// Inside runs fn on a thread of its own in the host's network namespace: what it starts or opens is there.
func (h *Host) Inside(fn func() error) error {
	return thread.Spend(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter %s: %w", h.Name, err)
		}
		return fn()
	})
}

// removeCgroups removes a name from every hierarchy. Who has just been killed may hold a cgroup for a moment longer.
func removeCgroups(name string) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
		left := 0
		for _, root := range append(roots, "/sys/fs/cgroup/"+name) {
			left += removeCgroup(root)
		}
		if left == 0 {
			return
		}
	}
}

// removeCgroup removes a cgroup and those below it, and says how many are left.
func removeCgroup(root string) (left int) {
	var dirs []string
	filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, os.ErrNotExist) {
			left++
		}
	}
	return left
}

// unmountBelow detaches every mount at or below dir.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
	return nil
}
