//go:build linux

// Package volume keeps named directories that outlive containers.
//
// Store knows the volumes of this node by name: rows, users, what a crash left half done. A Driver holds the files of one
// kind of volume: Local in directories of this node, package plugin by programs that speak Docker's protocol. Neither
// mounts anything into a container: they give a path on the host.
package volume

import (
	"errors"
	"fmt"

	"github.com/shoal-dev/shoal/internal/names"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("no such volume")
	ErrInUse    = errors.New("volume is in use")
	ErrConflict = errors.New("volume exists with other options")
	ErrInvalid  = errors.New("invalid volume")
	ErrNoDriver = errors.New("no such volume driver")
)

// Check refuses what no node could make a volume of. Options of drivers other than Local are their own to know. name may be empty
// for a volume that gets one.
func Check(name, driver string, options map[string]string) error {
	if name != "" {
		if err := checkName(name); err != nil {
			return err
		}
	}
	if driver != "" && driver != DriverLocal {
		return nil
	}
	if _, err := parseMount(options); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// maxName keeps a volume's directory within what file systems allow.
const maxName = 255

func checkName(name string) error {
	if len(name) > maxName || !names.Object(name) {
		return fmt.Errorf("%w name %q: use letters, digits, _ . - and begin with a letter or digit", ErrInvalid, name)
	}
	return nil
}
