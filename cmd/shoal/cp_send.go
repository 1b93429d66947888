package main

import (
	"context"
	"errors"
	"io"

	"github.com/shoal-dev/shoal/proto/api"
)

// sendCopy sends an archive to the directory that the first message names.
func (c *cli) sendCopy(ctx context.Context, first *api.CopyToRequest, write func(io.Writer) error) (int64, error) {
	d, err := c.client()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.Containers.CopyTo(ctx)
	if err != nil {
		return 0, err
	}
	w := &copySender{send: stream.Send}
	if err := stream.Send(first); err == nil {
		err = write(w)
		if err != nil && !errors.Is(err, errNotTaken) {
			return 0, err // a local one; cancel ends the call
		}
	}
	_, err = stream.CloseAndRecv()
	return w.n, err
}

// copySender sends what is written in messages.
type copySender struct {
	send func(*api.CopyToRequest) error
	n    int64
}

const copyMessage = 256 << 10

// errNotTaken ends packing: the daemon has ended the call, and its answer says why.
var errNotTaken = errors.New("the daemon takes no more")

func (w *copySender) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), copyMessage)
		if err := w.send(&api.CopyToRequest{Data: p[:n]}); err != nil {
			return written, errNotTaken
		}
		p, written, w.n = p[n:], written+n, w.n+int64(n)
	}
	return written, nil
}

// countingReader counts what is read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
