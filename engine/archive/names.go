//go:build linux

package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// portion is how many names of a directory are held at a time. A container can make millions, and they are this process's memory.
const portion = 4096

// eachName calls f with the names in an open directory: in order, if they are no more than a portion, else in order within
// each portion. path is what the directory is called in errors.
func eachName(fd int, path string, f func(base string) error) error {
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", path, err)
	}
	d := os.NewFile(uintptr(dir), "directory")
	defer func() { d.Close() }()
	for {
		list, err := d.Readdirnames(portion)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read directory %s: %w", path, err)
		}
		if len(list) < portion {
			d.Close() // none is open at every level above: there may be two thousand
		}
		slices.Sort(list)
		for _, base := range list {
			if err := f(base); err != nil {
				return err
			}
		}
		if len(list) < portion {
			return nil
		}
	}
}
