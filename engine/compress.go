//go:build linux

package engine

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/shoal-dev/shoal/engine/log"
	"github.com/shoal-dev/shoal/proto/api"
)

// compressInterval is how often rotated logs are looked for.
const compressInterval = 5 * time.Second

// compressor compresses the rotated logs of containers that ask for it, one after the other.
type compressor struct {
	e *Engine
	// seen is, by container, the newest rotated file there was when all were compressed, or could not be.
	seen map[string]os.FileInfo
}

func (e *Engine) compressLogs(ctx context.Context) {
	c := compressor{e, map[string]os.FileInfo{}}
	t := time.NewTicker(compressInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.round(ctx)
		}
	}
}

// round looks at all containers once.
func (c *compressor) round(ctx context.Context) {
	seen := map[string]os.FileInfo{}
	for _, one := range c.e.all() {
		row := one.get()
		if !compressed(row) || ctx.Err() != nil {
			continue
		}
		seen[one.id] = c.seen[one.id]
		newest, err := os.Stat(row.LogPath + ".1")
		if err != nil || seen[one.id] != nil && os.SameFile(newest, seen[one.id]) {
			continue
		}
		err = log.Compress(ctx, row.LogPath, c.e.cfg.FaultPoint)
		if errors.Is(err, log.ErrBusy) || ctx.Err() != nil {
			continue
		}
		if err != nil && !one.isRemoved() {
			c.e.log.Warn("rotated log was not compressed", "container", one.id, "error", err)
		}
		seen[one.id], _ = os.Stat(row.LogPath + ".1")
	}
	c.seen = seen
}

// compressed says whether a container wants its rotated logs compressed.
func compressed(row *api.Container) bool {
	s, err := logConfig(row, "")
	return err == nil && s.compress
}

// sweepLogs removes what a daemon was compressing when it died.
func (e *Engine) sweepLogs() {
	for _, c := range e.all() {
		if row := c.get(); compressed(row) {
			if err := log.Sweep(row.LogPath); err != nil {
				e.log.Error("half a compressed log was not removed", "container", c.id, "error", err)
			}
		}
	}
}
