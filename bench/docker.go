//go:build linux

package main

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

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// docker is a Docker engine in swarm mode on a host of its own, the peer of the same run.
type docker struct {
	host *hosts.Host
	dir  string
	cmd  *exec.Cmd
	done chan error
}

// startDocker runs dockerd on its own data root, socket and network namespace. No Docker on the machine is an error
// that the table shows.
func startDocker(ctx context.Context, h *hosts.Host, rootfs []byte) (*docker, error) {
	bin, err := exec.LookPath("dockerd")
	if err != nil {
		return nil, errors.New("no dockerd here: apt-get install docker.io")
	}
	dir, err := os.MkdirTemp("", "sbd")
	if err != nil {
		return nil, err
	}
	d := &docker{host: h, dir: dir, done: make(chan error, 1)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	d.cmd = exec.Command(bin, "-H", d.sock(), "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "--storage-driver", "overlay2", "--cgroup-parent", "/shoalbench")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.Inside(d.cmd.Start); err != nil {
		return nil, err
	}
	go func() { d.done <- d.cmd.Wait() }()
	_, err = hosts.Until(ctx, 40*time.Second, func() error { _, err := d.cli(ctx, nil, "info"); return err })
	if err == nil {
		_, err = d.cli(ctx, bytes.NewReader(rootfs), "import", "--change", `ENTRYPOINT ["/web"]`, "-", "web:1")
	}
	if err == nil {
		_, err = d.cli(ctx, nil, "swarm", "init", "--advertise-addr", h.Addr.String())
	}
	if err == nil {
		_, err = d.cli(ctx, nil, "network", "create", "-d", "overlay", "--subnet", "10.20.0.0/22", "app")
	}
	if err != nil {
		tail, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("dockerd: %w: %s", err, tail[max(0, len(tail)-500):]), d.stop())
	}
	return d, nil
}

func (d *docker) sock() string { return "unix://" + d.dir + "/sock" }

func (d *docker) cli(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"-H", d.sock()}, args...)...)
	cmd.Stdin = in
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

func (d *docker) stop() error {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		d.cmd.Process.Kill()
		<-d.done
	}
	return errors.Join(hosts.Unmount(d.dir), os.RemoveAll(d.dir))
}

// rss is the resident memory of dockerd and its containerd, in MiB.
func (d *docker) rss() (float64, error) {
	total, err := memoryOf(d.cmd.Process.Pid, "status", "VmRSS:")
	for _, pid := range hosts.Children(d.cmd.Process.Pid) {
		m, _ := memoryOf(pid, "status", "VmRSS:")
		total += m
	}
	return total, err
}
