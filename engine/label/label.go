//go:build linux

// Package label gives containers their SELinux labels: one for processes, one for files, with two categories of their own,
// so that the kernel keeps containers out of the host's files and of each other's.
//
// Which types containers have is the policy's to say (contexts/lxc_contexts, Debian and Fedora ship it), and the library of
// the container projects reads it. What is ours: refusing what would have no effect, and changing labels of files without
// following anything that a container puts in the way.
package label

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/selinux/go-selinux"
	"github.com/opencontainers/selinux/go-selinux/label"
)

// Labels are a container's. Both are empty where SELinux is not used; Process alone for one that it does not confine.
type Labels struct{ Process, File string }

// Source chooses labels. Its methods may be called concurrently.
type Source struct{ on bool }

// Open is a source that labels, if enabled; that is refused where it cannot work.
func Open(enabled bool) (*Source, error) {
	if !enabled {
		return &Source{}, nil
	}
	if !selinux.GetEnabled() {
		return nil, errors.New("--selinux-enabled: this kernel has no SELinux, or no policy is loaded: see 'sestatus', or leave the flag out")
	}
	process, _, err := label.InitLabels(nil)
	if err != nil {
		return nil, fmt.Errorf("--selinux-enabled: %w", err)
	}
	if process == "" {
		return nil, errors.New("--selinux-enabled: the policy names no labels for containers (contexts/lxc_contexts below /etc/selinux): install container-selinux")
	}
	selinux.ReleaseLabel(process)
	return &Source{on: true}, nil
}

// On says that containers are labelled.
func (s *Source) On() bool { return s.on }

var keys = []string{"user", "role", "type", "level", "filetype"}

// Check refuses options that no container can have.
func (s *Source) Check(options []string) error {
	for _, o := range options {
		if o == "disable" {
			continue
		}
		if key, value, _ := strings.Cut(o, ":"); !slices.Contains(keys, key) || value == "" {
			return fmt.Errorf("security option label=%s: use user:, role:, type:, level: or filetype: with a value, or disable", o)
		}
		if !s.on {
			return fmt.Errorf("security option label=%s: this daemon does not use SELinux: start it with --selinux-enabled where the kernel has SELinux", o)
		}
	}
	return nil
}

// Choose gives a container its labels and takes its categories. Release gives them back.
func (s *Source) Choose(options []string) (Labels, error) {
	if err := s.Check(options); err != nil || !s.on {
		return Labels{}, err
	}
	process, file, err := label.InitLabels(options)
	if err != nil {
		return Labels{}, fmt.Errorf("choose SELinux labels: %w", err)
	}
	for _, l := range []string{process, file} {
		if l == "" {
			continue
		}
		if err := selinux.SecurityCheckContext(l); err != nil {
			s.Release(Labels{process, file})
			return Labels{}, fmt.Errorf("SELinux label %s: the kernel's policy does not know it", l)
		}
	}
	return Labels{process, file}, nil
}

// Layers labels the directory of images' layers, once: what is made in there later has its label. Containers see layers
// through a mount with a label of its own, but the kernel asks for the file's where a program changes the protection of
// what it has mapped.
func (s *Source) Layers(dir string) error {
	if !s.on {
		return nil
	}
	//lint:ignore SA1019 its authors saw no user: this is one, and there is nothing in its place
	label := selinux.ROFileLabel()
	if Has(dir, label) {
		return nil
	}
	return Relabel(dir, label)
}

// Reserve takes the categories of a container that an earlier daemon made.
func (s *Source) Reserve(l Labels) {
	if s.on && l.Process != "" {
		selinux.ReserveLabelV2(l.Process) // taken already if two containers share them on purpose
	}
}

// Release gives a container's categories back.
func (s *Source) Release(l Labels) {
	if s.on && l.Process != "" {
		selinux.ReleaseLabel(l.Process)
	}
}

// Same are the options that give another container the labels of a process.
func (s *Source) Same(process string) ([]string, error) {
	if !s.on {
		return nil, nil
	}
	if process == "" {
		return []string{"disable"}, nil
	}
	return selinux.DupSecOpt(process)
}

// Shared is a file label without categories: every container may use what has it.
func Shared(file string) string {
	c, err := selinux.NewContext(file)
	if err != nil || c["level"] == "" {
		return file
	}
	c["level"] = "s0"
	return c.Get()
}
