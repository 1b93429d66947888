package main

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
)

// copyEnd is one end of a copy.
type copyEnd struct {
	path        string
	exists, dir bool
}

var (
	errCopyDirToFile = errors.New("cannot copy a directory over a file: name a directory as the destination")
	errNoSuchDir     = errors.New("no such directory as the destination")
)

// placeCopy decides, by Docker's rules, into which directory the archive of a source is unpacked, and under which name; an
// empty one leaves the source's own. split cuts paths of the destination's side.
//
//	destination    source a file                 source a directory
//	missing        file of that name             directory of that name, with its content
//	missing/       error                         directory of that name, with its content
//	a file         replaced                      error
//	a directory    into it                       into it; its content only if the source ends with /.
func placeCopy(src, dst copyEnd, split func(string) (string, string)) (dir, base string, err error) {
	switch {
	case dst.exists && dst.dir:
		return dst.path, "", nil
	case dst.exists && src.dir:
		return "", "", errCopyDirToFile
	case !dst.exists && !src.dir && namesDirectory(dst.path):
		return "", "", errNoSuchDir
	}
	p := dst.path
	for len(p) > 1 && namesDirectory(p) { // a slash, or the dot behind one
		p = p[:len(p)-1]
	}
	dir, base = split(p)
	if dir == "" {
		dir = "."
	}
	return dir, base, nil
}

// namesDirectory says that a path can only mean a directory.
func namesDirectory(p string) bool {
	return strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || p == "." || filepath.Separator == '\\' && strings.HasSuffix(p, `\`)
}

// copyBase is the name that a source has in its archive: "." for a directory's content.
func copyBase(src string) string {
	p := filepath.ToSlash(src)
	if strings.HasSuffix(p, "/.") || p == "." || path.Clean(p) == "/" {
		return "."
	}
	return path.Base(p)
}
