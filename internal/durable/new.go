package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// WriteNew writes the first files of a directory that nobody looks into yet. It waits for all of them at once: a file
// system with a journal writes it once for all who wait, and one after the other for those who do not wait together.
func WriteNew(dir string, files map[string][]byte, perm fs.FileMode) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	opened := []*os.File{d}
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	for name, data := range files {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
		if err != nil {
			return err
		}
		opened = append(opened, f)
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return syncAll(opened)
}

func syncAll(files []*os.File) error {
	errs := make([]error, len(files))
	var waits sync.WaitGroup
	for i, f := range files {
		waits.Go(func() { errs[i] = f.Sync() })
	}
	waits.Wait()
	return errors.Join(errs...)
}
