//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/e2e/vm/control"
)

// serve runs one script after the other. It returns when the port is gone.
func serve(port string) error {
	tty, err := os.OpenFile(port, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if err := raw(int(tty.Fd())); err != nil {
		return fmt.Errorf("set up %s: %w", port, err)
	}
	in, out := json.NewDecoder(tty), json.NewEncoder(tty)
	if err := out.Encode(control.Answer{Done: true}); err != nil {
		return err
	}
	for {
		var r control.Request
		if err := in.Decode(&r); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if err := out.Encode(control.Answer{Done: true, Code: run(r.Script, out)}); err != nil {
			return err
		}
	}
}

// raw makes the port carry bytes as they are.
func raw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// pieces sends what is written as answers.
type pieces struct{ out *json.Encoder }

func (p pieces) Write(b []byte) (int, error) {
	return len(b), p.out.Encode(control.Answer{Output: b})
}

// run is a script's exit code; what it leaves running in the background does not hold it up.
func run(script string, out *json.Encoder) int {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdout = pieces{out}
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	out.Encode(control.Answer{Output: fmt.Appendln(nil, "init:", err)})
	return 127
}
