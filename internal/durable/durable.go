// Package durable changes files so that neither a killed process nor a power cut leaves anything between the old state and
// the new one, and so that what has returned has happened: contents are on disk before they get their name, and the name
// is on disk before the caller goes on (fsync(2): "calling fsync() does not necessarily ensure that the entry in the
// directory containing the file has also reached disk").
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// UnfinishedExt ends the names of files that were being written when a process was killed. The next Write of the same path
// replaces them; an owner of a directory may remove them.
const UnfinishedExt = ".tmp"

// Write replaces the file at path. On error the old one is there, and nothing beside it. One writer of a path at a time.
func Write(path string, data []byte, perm fs.FileMode) error {
	tmp, err := Prepare(path, data, perm)
	if err != nil {
		return err
	}
	if err := Rename(tmp, path); err != nil {
		os.Remove(tmp) // gone already if only the last step failed
		return err
	}
	return nil
}

// Prepare is the first half of Write: the contents are on disk in the file that it names, which Rename puts in its place.
func Prepare(path string, data []byte, perm fs.FileMode) (tmp string, err error) {
	return write(path, data, perm, (*os.File).Sync)
}

// Replace is Write for what a power cut may take: killed processes leave the old file or the new one, a power cut may leave
// it empty.
func Replace(path string, data []byte, perm fs.FileMode) error {
	tmp, err := write(path, data, perm, func(*os.File) error { return nil })
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

func write(path string, data []byte, perm fs.FileMode, sync func(*os.File) error) (tmp string, err error) {
	tmp = path + UnfinishedExt
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return "", err
	}
	if _, err = f.Write(data); err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(tmp))
	}
	return tmp, nil
}

// Rename gives a file or a directory another name in the same directory.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return Sync(filepath.Dir(to))
}

// Remove deletes a file or an empty directory.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return Sync(filepath.Dir(path))
}

// Sync waits until the names in a directory are on disk.
func Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
