//go:build linux

package log

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// numbered is a file of the log: 0 is the newest.
type numbered struct {
	n int
	f *file
}

// attempts bounds how often opening is tried again because the writer rotates just then.
const attempts = 50

// openAll opens all files of a log, oldest first. Since a rotation renames one file after the other, what was opened is
// compared with the directory afterwards: only a picture that has not changed meanwhile is taken. It may have a gap in the
// numbers, in the middle of a rotation, but no file is missing.
func openAll(path string) ([]*file, error) {
	for try := 0; ; try++ {
		files, err := openNumbered(path)
		if err != nil {
			return nil, err
		}
		if try == attempts || unchanged(path, files) {
			return oldestFirst(files), nil
		}
		for _, f := range files {
			f.f.Close()
		}
	}
}

func oldestFirst(files []numbered) []*file {
	slices.SortFunc(files, func(a, b numbered) int { return b.n - a.n })
	out := make([]*file, 0, len(files))
	for _, f := range files {
		out = append(out, f.f)
	}
	return out
}

func openNumbered(path string) ([]numbered, error) {
	numbers, err := list(path)
	if err != nil {
		return nil, err
	}
	var files []numbered
	for _, n := range numbers {
		f, err := openFile(name(path, n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // unchanged will see it
		}
		if err != nil {
			for _, f := range files {
				f.f.Close()
			}
			return nil, err
		}
		files = append(files, numbered{n, f})
	}
	return files, nil
}

func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	opened, err := newFile(f)
	if err != nil {
		f.Close()
	}
	return opened, err
}

func name(path string, n int) string {
	if n == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, n)
}

// list returns the numbers of a log's files, ascending.
func list(path string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filepath.Base(path))
		if !ok {
			continue
		}
		if rest == "" {
			numbers = append(numbers, 0)
		} else if n, err := strconv.Atoi(strings.TrimPrefix(rest, ".")); err == nil && n > 0 && rest == "."+strconv.Itoa(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// unchanged tells whether the files still have the names they were opened under, and there are no others.
func unchanged(path string, files []numbered) bool {
	numbers, err := list(path)
	if err != nil || len(numbers) != len(files) {
		return false
	}
	for i, f := range files {
		if numbers[i] != f.n || !same(f.f.File, name(path, f.n)) {
			return false
		}
	}
	return true
}

// same tells whether path is the file that f is.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
