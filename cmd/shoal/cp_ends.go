package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

// localEnd looks at where on this machine a copy goes to. What a link to a file points to is replaced, not the link.
func localEnd(path string) (copyEnd, error) {
	to := copyEnd{path: path}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return to, nil
	}
	if err != nil {
		return to, err
	}
	to.exists, to.dir = true, info.IsDir()
	if to.dir {
		return to, nil
	}
	if !info.Mode().IsRegular() {
		return to, fmt.Errorf("destination %q must be a directory or a regular file", path)
	}
	to.path, err = filepath.EvalSymlinks(path)
	return to, err
}

// copyDestination looks at where a copy goes to. A symbolic link is not replaced: what it points to is.
func (c *cli) copyDestination(ctx context.Context, container, dst string) (copyEnd, error) {
	d, err := c.client()
	if err != nil {
		return copyEnd{}, err
	}
	to := copyEnd{path: dst}
	for range 40 { // as many links as the kernel follows
		st, err := d.Containers.StatPath(ctx, &api.CopyFromRequest{Ref: container, Path: to.path})
		if client.IsNotFound(err) && !strings.Contains(err.Error(), "no such container") || client.CodeOf(err) == codes.InvalidArgument {
			return to, nil // the copy may make it; else the daemon says what is wrong
		}
		if err != nil {
			return to, err
		}
		mode := fs.FileMode(st.Mode)
		if mode&fs.ModeSymlink == 0 {
			to.exists, to.dir = true, mode.IsDir()
			if !mode.IsDir() && !mode.IsRegular() {
				return to, fmt.Errorf("destination \"%s:%s\" must be a directory or a regular file", container, dst)
			}
			return to, nil
		}
		if path.IsAbs(st.LinkTarget) {
			to.path = st.LinkTarget
		} else {
			to.path = path.Join("/", path.Dir(to.path), st.LinkTarget)
		}
	}
	return to, fmt.Errorf("destination \"%s:%s\": too many levels of symbolic links", container, dst)
}

func (c *cli) openCopy(ctx context.Context, o *cpFlags, container, path string) (*chunkReader, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	s, err := d.Containers.CopyFrom(ctx, &api.CopyFromRequest{Ref: container, Path: path, FollowLink: o.follow})
	return &chunkReader{stream: s}, err
}
