package main

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// pack writes a file, or a directory and all below it, as a tar whose entries begin with base. follow is for the path
// itself, not for links below it.
func pack(w io.Writer, root, base string, follow bool) error {
	buffered := bufio.NewWriterSize(w, copyMessage)
	tw := tar.NewWriter(buffered)
	if follow {
		resolved, err := filepath.EvalSymlinks(root)
		if err != nil {
			return err
		}
		root = resolved
	}
	if namesDirectory(root) { // behind a link as well
		root = filepath.Clean(root) + string(filepath.Separator)
	}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name := base
		if rel != "." {
			name += "/" + filepath.ToSlash(rel)
		}
		return packOne(tw, p, name)
	})
	if err == nil {
		err = tw.Close()
	}
	if err != nil {
		return err
	}
	return buffered.Flush()
}

func packOne(tw *tar.Writer, p, name string) error {
	info, err := os.Lstat(p)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil // has no place in an archive
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(p); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Format = name, tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	if !info.Mode().IsRegular() {
		return tw.WriteHeader(h)
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(tw, f, h.Size)
	if isEOF(err) {
		return fmt.Errorf("%s became shorter while it was copied: try again", p)
	}
	return err
}
