//go:build linux

package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Containers of another OCI runtime: it makes and starts them, runs execs and cleans up after itself. The shim holds streams,
// log and exit code as ever, and cgroups are told the same path, so that everything else is as for our own.

// otherDir is what another runtime keeps of a container, below the container's directory.
const otherDir = "oci"

const otherLog = "oci.log"

// otherArgs are the options that every command begins with.
func (s *Shoal) otherArgs(id string) []string {
	p := s.place(id)
	return []string{"--root", p.file(otherDir), "--log", p.file(otherLog), "--log-format", "text"}
}

func (s *Shoal) other(ctx context.Context, o CreateOptions, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, o.Runtime, append(s.otherArgs(o.ID), args...)...)
	cmd.Env = []string{"PATH=" + defaultPath}
	cmd.Dir = o.Bundle
	return cmd
}

// startOther has the other runtime let the command run.
func (s *Shoal) startOther(ctx context.Context, o CreateOptions) error {
	out, err := s.other(ctx, o, "start", o.ID).CombinedOutput()
	if err == nil {
		return nil
	}
	return s.otherError(s.place(o.ID), fmt.Errorf("%w: %s", err, bytes.TrimSpace(out)))
}

// otherError gives the runtime's own last words, and what kind of failure they mean.
func (s *Shoal) otherError(p place, err error) error {
	log, _ := os.ReadFile(p.file(otherLog))
	text := lastError(string(log))
	if text == "" {
		return err
	}
	r := &Refused{Text: text, Kind: errOther}
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory") && strings.Contains(text, "exec"):
		r.Kind = ErrNoCommand
	case strings.Contains(text, "permission denied") && strings.Contains(text, "exec"):
		r.Kind = ErrNotRunnable
	}
	return r
}

var errOther = errors.New("the other runtime failed")

// lastError finds the message of a line like: time="..." level=error msg="..." or, from crun, time: message.
func lastError(log string) string {
	last := ""
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "level=warning") || line == "" {
			continue
		}
		last = line
		if i := strings.Index(line, `msg="`); i >= 0 {
			last = strings.ReplaceAll(strings.TrimSuffix(line[i+5:], `"`), `\"`, `"`)
		} else if _, text, ok := strings.Cut(line, "Z: "); ok {
			last = text
		}
	}
	return last
}

// deleteOther lets the runtime clean up; what it cannot, Delete does.
func (s *Shoal) deleteOther(ctx context.Context, o CreateOptions) {
	if out, err := s.other(ctx, o, "delete", "--force", o.ID).CombinedOutput(); err != nil {
		s.log.Debug("runtime did not delete", "container", o.ID, "error", err, "output", string(bytes.TrimSpace(out)))
	}
}

// writeProcess puts the process of an exec where the other runtime reads it.
func (s *Shoal) writeProcess(id string, o ExecOptions) (path string, err error) {
	b, err := json.Marshal(o.Process)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(s.place(id).dir, execPrefix+"*.json")
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	return f.Name(), errors.Join(err, f.Close())
}

// execPrefix begins the names of files that are there as long as an exec by another runtime.
const execPrefix = "exec-"

// removeExecs removes those of execs that have lost their daemon.
func (p place) removeExecs() {
	left, _ := filepath.Glob(p.file(execPrefix + "*")) // the pattern is good
	for _, path := range left {
		os.Remove(path)
	}
}

// LookOther finds another runtime by its name in the daemon's PATH.
func LookOther(name string) (string, error) {
	if name != filepath.Base(name) || strings.HasPrefix(name, "-") || name == "." {
		return "", fmt.Errorf("runtime %q is not the name of a program", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("runtime %q is not installed on this host: put it into the daemon's PATH, or leave --runtime out", name)
	}
	return filepath.Abs(path)
}
