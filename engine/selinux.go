//go:build linux

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/label"
	"github.com/shoal-dev/shoal/proto/api"
)

func labelsOf(row *api.Container) label.Labels {
	return label.Labels{Process: row.ProcessLabel, File: row.MountLabel}
}

// chooseLabels gives a new container its SELinux labels, where the daemon uses SELinux.
func (e *Engine) chooseLabels(row *api.Container) error {
	options := row.Spec.GetLabelOptions()
	if len(options) == 0 {
		var err error
		if options, err = e.impliedLabels(row); err != nil {
			return err
		}
	}
	l, err := e.cfg.Labels.Choose(options)
	if err != nil {
		return errorf(ErrInvalid, "%w", err)
	}
	row.ProcessLabel, row.MountLabel = l.Process, l.File
	return nil
}

// impliedLabels: a container that shares processes or memory with others has to be allowed to use them, as in Docker.
func (e *Engine) impliedLabels(row *api.Container) ([]string, error) {
	s := row.Spec
	if s.Privileged || s.PidMode == "host" || s.IpcMode == "host" {
		return []string{"disable"}, nil
	}
	var options []string
	for _, mode := range []string{s.IpcMode, s.PidMode} {
		if !joinsContainer(mode) {
			continue
		}
		other, err := e.find(strings.TrimPrefix(mode, "container:"))
		if err != nil {
			return nil, err
		}
		same, err := e.cfg.Labels.Same(other.get().ProcessLabel)
		if err != nil {
			return nil, err
		}
		if options != nil && !slices.Equal(options, same) {
			return nil, errorf(ErrInvalid, "the containers that --pid and --ipc name have different SELinux labels: choose one of them, or label=disable")
		}
		options = same
	}
	return options, nil
}

// checkRelabel refuses a wish that would have no effect.
func (e *Engine) checkRelabel(m *api.Mount) error {
	switch {
	case m.Relabel == "":
		return nil
	case m.Relabel != "z" && m.Relabel != "Z":
		return errorf(ErrInvalid, "mount %s: relabel %q is neither z (shared) nor Z (this container's alone)", m.Target, m.Relabel)
	case m.Type == api.Mount_TMPFS:
		return errorf(ErrInvalid, "mount %s: a tmpfs has its container's label: leave %s out", m.Target, m.Relabel)
	case !e.cfg.Labels.On():
		return errorf(ErrInvalid, "mount %s: option %s: this daemon does not use SELinux: start it with --selinux-enabled where the kernel has SELinux, or leave it out", m.Target, m.Relabel)
	}
	return nil
}

// prepareLabels gives files their labels before they are mounted: those in /etc, what z and Z ask for, and volumes, which
// all containers may use unless Z says otherwise.
func (e *Engine) prepareLabels(_ context.Context, c *container) error {
	row := c.get()
	if row.MountLabel == "" {
		return nil
	}
	shared := label.Shared(row.MountLabel)
	if !joinsContainer(row.NetworkMode) {
		for _, name := range etcFiles {
			if err := label.Relabel(filepath.Join(c.dir, name), shared); err != nil {
				return err
			}
		}
	}
	for _, p := range row.Mounts {
		var err error
		switch wish := asked(p).Relabel; {
		case wish == "Z":
			err = label.Relabel(p.Source, row.MountLabel)
		case wish == "z":
			err = label.Relabel(p.Source, shared)
		case p.Type == "volume" && !label.Has(p.Source, shared):
			if err = label.Relabel(p.Source, shared); errors.Is(err, unix.ENOTSUP) {
				err = nil // a file system without labels has one for all its files, which its mount says
			}
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", p.Destination, err)
		}
	}
	return nil
}
