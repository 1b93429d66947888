//go:build linux

package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// checkBind looks whether this host has what is to be bound, as it must be.
func checkBind(m *api.Mount) error {
	_, err := os.Stat(m.Source)
	if errors.Is(err, fs.ErrNotExist) {
		if !m.CreateSource {
			return errorf(ErrInvalid, "bind mount source %s does not exist: make it first", m.Source)
		}
		err = os.MkdirAll(m.Source, 0o755)
	}
	if err == nil {
		err = checkPropagation(m)
	}
	return err
}

func checkRecursion(m *api.Mount) error {
	switch {
	case !slices.Contains([]string{"", "writable", "readonly"}, m.ReadOnlyRecursion):
		return errorf(ErrInvalid, "bind mount %s: unknown recursion %q: writable or readonly", m.Target, m.ReadOnlyRecursion)
	case m.ReadOnlyRecursion != "" && !m.ReadOnly:
		return errorf(ErrInvalid, "bind mount %s: recursion %s is for read-only mounts: add readonly", m.Target, m.ReadOnlyRecursion)
	case m.ReadOnlyRecursion != "" && m.NonRecursive:
		return errorf(ErrInvalid, "bind mount %s: recursion %s of a mount that is not recursive", m.Target, m.ReadOnlyRecursion)
	case m.ReadOnlyRecursion == "readonly" && !isPrivate(m.Propagation): // what is mounted later could be written to
		return errorf(ErrInvalid, "bind mount %s: recursion readonly needs propagation rprivate, not %s", m.Target, m.Propagation)
	}
	return nil
}

func isPrivate(propagation string) bool {
	return propagation == "" || propagation == "rprivate" || propagation == "private"
}

// checkPropagation refuses a propagation that the source's own mount cannot give: nothing would ever arrive.
func checkPropagation(m *api.Mount) error {
	if isPrivate(m.Propagation) {
		return nil
	}
	point, optional, err := mountOf(m.Source)
	if err != nil {
		return err
	}
	shared, slave := strings.Contains(optional, "shared:"), strings.Contains(optional, "master:")
	if shared || slave && strings.HasSuffix(m.Propagation, "slave") {
		return nil
	}
	return errorf(ErrInvalid, "bind mount %s: propagation %s needs a source on a shared mount, and %s is not: run 'mount --make-rshared %s' first",
		m.Target, m.Propagation, point, point)
}

// mountOf finds the mount that a path is on, and the optional fields of its line in mountinfo: shared:N, master:N.
func mountOf(name string) (point, optional string, err error) {
	if name, err = filepath.EvalSymlinks(name); err != nil {
		return "", "", err
	}
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(info)) {
		before, _, _ := strings.Cut(line, " - ")
		f := strings.Fields(before)
		if len(f) < 6 {
			continue
		}
		at := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[4])
		inside := at == "/" || name == at || strings.HasPrefix(name, at+"/")
		if inside && len(at) >= len(point) { // the last one at a place covers those before it
			point, optional = at, strings.Join(f[6:], " ")
		}
	}
	return point, optional, nil
}
