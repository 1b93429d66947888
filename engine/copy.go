//go:build linux

package engine

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/archive"
	"github.com/shoal-dev/shoal/proto/api"
)

// Export writes a container's root file system as a tar, without what is mounted in it.
func (e *Engine) Export(ctx context.Context, ref string, w io.Writer) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := e.withSnapshot(ctx, c, func(r *archive.Root) error { return r.WriteAll(ctx, w) }); err != nil {
		return err
	}
	e.emit(c, "export", nil)
	return nil
}

// StatPath describes a path in a container, running or not.
func (e *Engine) StatPath(ctx context.Context, ref, path string, follow bool) (*api.PathStat, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	var info archive.Info
	err = e.withView(ctx, c, func(r *archive.Root) (err error) {
		info, err = r.Stat(path, follow)
		return err
	})
	if err != nil {
		return nil, pathError(c, path, err)
	}
	return &api.PathStat{
		Name: info.Name, Size: info.Size, Mode: uint32(info.Mode), Modified: timestamppb.New(info.Modified), LinkTarget: info.Link,
	}, nil
}

// CopyFrom writes what a path in a container names as a tar; its entries begin with the last part of the path.
func (e *Engine) CopyFrom(ctx context.Context, ref, path string, follow bool, w io.Writer) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	err = e.withView(ctx, c, func(r *archive.Root) error { return r.Write(ctx, path, follow, w) })
	if err != nil {
		return pathError(c, path, err)
	}
	e.emit(c, "archive-path", nil)
	return nil
}

// CopyTo unpacks a tar into a directory of a container.
func (e *Engine) CopyTo(ctx context.Context, r *api.CopyToRequest, content io.Reader) error {
	c, err := e.find(r.GetRef())
	if err != nil {
		return err
	}
	content, err = uncompressed(content)
	if err != nil {
		return errorf(ErrInvalid, "copy to container %s: %w", c.get().Name, err)
	}
	o := archive.ExtractOptions{NoOverwrite: r.NoOverwriteDir, Owner: &archive.Owner{}}
	if r.CopyIds {
		o.Owner = nil
	}
	err = e.withView(ctx, c, func(root *archive.Root) error { return root.Extract(ctx, r.Path, content, o) })
	if err != nil {
		return pathError(c, r.Path, err)
	}
	e.emit(c, "extract-to-dir", nil)
	return nil
}

// uncompressed takes gzip off an archive, if it is there.
func uncompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if magic, _ := b.Peek(2); string(magic) != "\x1f\x8b" {
		return b, nil
	}
	return gzip.NewReader(b)
}

// pathError says in a person's words what is wrong with a path.
func pathError(c *container, path string, err error) error {
	name := c.get().Name
	var kind *kindError
	switch {
	case errors.As(err, &kind):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return errorf(ErrNotFound, "no such file or directory in container %s: %s", name, path)
	case errors.Is(err, archive.ErrNotDirectory):
		return errorf(ErrInvalid, "%s in container %s is not a directory", path, name)
	case errors.Is(err, syscall.ELOOP):
		return errorf(ErrInvalid, "%s in container %s: too many levels of symbolic links", path, name)
	case errors.Is(err, syscall.EROFS):
		return errorf(ErrPrecondition, "%s in container %s is on a read-only file system", path, name)
	case errors.Is(err, archive.ErrShorter):
		return errorf(ErrPrecondition, "copy from container %s: %w", name, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errorf(ErrPrecondition, "no space left for %s in container %s", path, name)
	case errors.Is(err, archive.ErrInvalid):
		return errorf(ErrInvalid, "copy to %s in container %s: %w", path, name, err)
	}
	return err
}
