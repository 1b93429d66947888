//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/internal/names"
)

// What no other limit says is written as it is: a file of the group, by the kernel's name for it ("memory.high",
// "hugetlb.2MB.max", "net_cls.classid"). Its first part names the controller, and so the hierarchy.

// notConf are first parts of names that are no limit, and why.
var notConf = map[string]string{
	"cgroup":  "it moves processes or changes what the group is",
	"devices": "allow devices with --device and --device-cgroup-rule",
	"freezer": "use pause and unpause",
}

// CheckConf refuses a file that no group has for a setting, by its name, and a value that cannot be written at once.
func CheckConf(name, value string) error {
	if err := checkConfName(name); err != nil {
		return err
	}
	if strings.ContainsAny(value, "\x00\n") {
		return fmt.Errorf("cgroup file %s: the value %q is not one line", name, value)
	}
	return nil
}

// CheckConf is the function of that name, and refuses a file whose controller this machine does not have. An empty value is what a
// new group has.
func (t *Tree) CheckConf(name, value string) error {
	if err := CheckConf(name, value); err != nil {
		return err
	}
	have := t.controllers()
	if c := controllerOf(name); !slices.Contains(have, c) {
		return fmt.Errorf("cgroup file %s: this host has no %s controller, it has %s", name, c, strings.Join(have, ", "))
	}
	return nil
}

func checkConfName(name string) error {
	parts := strings.Split(name, ".")
	if len(parts) < 2 || !all(parts, names.Object) {
		return fmt.Errorf("cgroup file %q is not named CONTROLLER.SETTING, for example memory.high", name)
	}
	if why, ok := notConf[controllerOf(name)]; ok {
		return fmt.Errorf("cgroup file %s cannot be written: %s", name, why)
	}
	return nil
}

func all(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}

func controllerOf(name string) string {
	c, _, _ := strings.Cut(name, ".")
	return c
}

// controllers are those of all hierarchies.
func (t *Tree) controllers() []string {
	var list []string
	for _, h := range t.v1 {
		if !h.named() {
			list = append(list, h.controllers...)
		}
	}
	if t.v2 != "" {
		text, _ := read(t.v2, "cgroup.controllers")
		list = append(list, strings.Fields(text)...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// home is where a controller's files of the group are: in its own hierarchy if version 1 has it, else in version 2's.
func (g *Group) home(controller string) string {
	if d := g.dir(controller); d != "" {
		return d
	}
	return g.V2Dir()
}

// conf writes files by name, in the order of the names.
func (w *writer) conf(files map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if w.err == nil {
			w.err = checkConfName(name)
		}
		if w.err == nil {
			w.err = w.set(name, files[name])
		}
	}
}

func (w *writer) set(name, value string) error {
	c := controllerOf(name)
	dir := w.group.home(c)
	if dir == "" {
		return fmt.Errorf("cgroup file %s: this host has no %s controller", name, c)
	}
	err := writeConf(dir, name, value)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cgroup file %s: the %s controller of this host has no such file (%s)", name, c, version(dir == w.group.V2Dir()))
	}
	var refused *fs.PathError
	if errors.As(err, &refused) {
		return fmt.Errorf("cgroup file %s: the kernel does not take %q: %w", name, value, refused.Err)
	}
	return err
}

// writeConf writes a value, or what a new group beside this one has. That may be several lines, one for each device: the kernel
// takes one at a time.
func writeConf(dir, name, value string) error {
	if value != "" {
		return write(dir, filepath.Base(name), value)
	}
	lines, err := fresh(dir, name)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		if now, err := read(dir, name); err != nil || strings.TrimSpace(now) == "" {
			return err
		}
		return fmt.Errorf("cgroup file %s: a new group has no line in it, and a running container keeps its own: write one without a limit, or stop the container first", name)
	}
	for _, line := range lines {
		if err := write(dir, filepath.Base(name), line); err != nil {
			return err
		}
	}
	return nil
}

// fresh reads a file of a group that is new. One that a killed daemon has left is as new.
func fresh(dir, name string) ([]string, error) {
	beside := dir + ".fresh"
	if err := os.Mkdir(beside, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	defer os.Remove(beside)
	text, err := read(beside, name)
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), err
}

func version(two bool) string {
	if two {
		return "cgroup version 2"
	}
	return "cgroup version 1"
}
