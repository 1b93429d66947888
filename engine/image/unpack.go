//go:build linux

package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-dev/shoal/engine/image/layer"
)

// chainOf computes the chain ID of a list of diff IDs, base first.
func chainOf(diffIDs []string) (string, error) {
	chain := ""
	for _, id := range diffIDs {
		if err := digest.Digest(id).Validate(); err != nil {
			return "", fmt.Errorf("diff ID %q: %w", id, err)
		}
		chain = nextChain(chain, id)
	}
	return chain, nil
}

func nextChain(parent, diffID string) string {
	if parent == "" {
		return diffID
	}
	return digest.FromString(parent + " " + diffID).String()
}

// decompress recognises gzip, zstd and plain by the first bytes, whatever a media type says.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return pgzip.NewReaderN(br, 256<<10, 4)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}

// unpackAll unpacks an image's layers side by side. ready(ctx, i) brings layer i's blob into the content store.
func (s *Store) unpackAll(ctx context.Context, layers []layerRecord, ready func(ctx context.Context, i int) error, p *progress) error {
	g, ctx := errgroup.WithContext(ctx)
	done := make([]chan struct{}, len(layers)) // closed once the layer's snapshot is there
	for i := range layers {
		done[i] = make(chan struct{})
	}
	for i := range layers {
		below := closed()
		if i > 0 {
			below = done[i-1]
		}
		g.Go(func() error {
			if err := ready(ctx, i); err != nil {
				return err
			}
			parent := ""
			if i > 0 {
				parent = layers[i-1].ChainID.String()
			}
			if err := s.unpackOne(ctx, &layers[i], parent, below, p); err != nil {
				return err
			}
			close(done[i])
			return nil
		})
	}
	return g.Wait()
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// unpackOne makes the snapshot of one layer. It waits for the layer below only when its own work is done.
func (s *Store) unpackOne(ctx context.Context, l *layerRecord, parent string, below <-chan struct{}, p *progress) error {
	err := s.Snapshots.Unpack(ctx, l.ChainID.String(), parent, func(dir string) error {
		release, err := s.slot(ctx)
		if err != nil {
			return err
		}
		size, err := s.extract(ctx, l, dir, p)
		release()
		if err != nil {
			return err
		}
		s.FaultPoint("image.extracted")
		if err := s.putLayerSize(l.ChainID, size); err != nil {
			return err
		}
		s.FaultPoint("image.sized")
		select {
		case <-below:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return fmt.Errorf("unpack layer %s: %w", short(l.Blob), err)
	}
	s.FaultPoint("image.layer")
	l.Size, _, err = s.layerSize(l.ChainID)
	p.say(l.Blob, "Pull complete", 0, 0)
	return err
}

// extract unpacks a blob into dir and verifies that it is the layer that the config names.
func (s *Store) extract(ctx context.Context, l *layerRecord, dir string, p *progress) (int64, error) {
	f, err := s.Content.Open(l.Blob)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := decompress(p.reader(f, l.Blob, "Extracting", 0, l.BlobSize))
	if err != nil {
		return 0, fmt.Errorf("decompress: %w", err)
	}
	defer r.Close()
	h := digest.SHA256.Digester()
	size, err := layer.Extract(ctx, io.TeeReader(r, h.Hash()), dir)
	if err != nil {
		return 0, err
	}
	if got := h.Digest(); got != l.DiffID {
		return 0, fmt.Errorf("its content is %s, the image's config says %s", got, l.DiffID)
	}
	return size, nil
}

var errNoLayers = errors.New("the image's config and manifest do not agree on the number of layers")
