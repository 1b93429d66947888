//go:build linux

package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Docker is a Docker engine on a host of its own, the peer of the same run. Stop it.
type Docker struct {
	host *Host
	dir  string
	cmd  *exec.Cmd
	done chan error
}

// StartDocker runs dockerd on its own data root, socket and network namespace. No Docker on the machine is an error
// that says what to install.
func StartDocker(ctx context.Context, h *Host) (*Docker, error) {
	bin, err := exec.LookPath("dockerd")
	if err != nil {
		return nil, errors.New("no dockerd here: apt-get install docker.io")
	}
	dir, err := os.MkdirTemp("", "sbd")
	if err != nil {
		return nil, err
	}
	if err := memoryDir(filepath.Join(dir, "exec")); err != nil { // where Docker has it, below /run
		return nil, err
	}
	d := &Docker{host: h, dir: dir, done: make(chan error, 1)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	d.cmd = exec.Command(bin, "-H", d.Socket(), "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid",
		"--storage-driver", "overlay2", "--cgroup-parent", "/"+d.cgroup())
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.Inside(d.cmd.Start); err != nil {
		return nil, err
	}
	go func() { d.done <- d.cmd.Wait() }()
	if _, err = Until(ctx, 40*time.Second, func() error { _, err := d.CLI(ctx, nil, "info"); return err }); err != nil {
		tail, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("dockerd: %w: %s", err, tail[max(0, len(tail)-500):]), d.Stop())
	}
	return d, nil
}

// Socket is where dockerd listens.
func (d *Docker) Socket() string { return "unix://" + d.dir + "/sock" }
func (d *Docker) cgroup() string { return "shoal-" + filepath.Base(d.dir) }

// CLI runs docker's command line and returns what it printed. The error carries what it complained of.
func (d *Docker) CLI(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := d.Command(ctx, args...)
	cmd.Stdin = in
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// Command is a command line that is not started yet.
func (d *Docker) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "docker", append([]string{"-H", d.Socket()}, args...)...)
}

// Dir is where it keeps everything; its supervisors' command lines name it.
func (d *Docker) Dir() string { return d.dir }

// Pid of dockerd.
func (d *Docker) Pid() int { return d.cmd.Process.Pid }

// Stop ends dockerd, and with it what it runs.
func (d *Docker) Stop() error {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		<-d.done
	}
	removeCgroups(d.cgroup())
	return errors.Join(unmountBelow(d.dir), os.RemoveAll(d.dir))
}
