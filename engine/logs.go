//go:build linux

package engine

import (
	"context"
	"fmt"
	"strconv"

	"github.com/docker/go-units"

	"github.com/shoal-dev/shoal/engine/log"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// Drivers of logs. local is json-file with bounds by default.
const (
	logJSON  = "json-file"
	logLocal = "local"
	logNone  = "none"

	localMaxSize  = 20 << 20
	localMaxFiles = 5
)

// logConfig reads a container's log options.
func logConfig(row *api.Container, dir string) (runtime.LogConfig, error) {
	l := row.Spec.GetLog()
	cfg := runtime.LogConfig{Driver: l.GetDriver(), MaxFiles: 1}
	switch cfg.Driver {
	case "":
		cfg.Driver = logJSON
	case logJSON, logNone:
	case logLocal:
		cfg.MaxSize, cfg.MaxFiles = localMaxSize, localMaxFiles
	default:
		return cfg, fmt.Errorf("log driver %q is not json-file, local or none", cfg.Driver)
	}
	for key, value := range l.GetOptions() {
		var err error
		switch {
		case key == "max-size" && cfg.Driver != logNone:
			if cfg.MaxSize, err = units.RAMInBytes(value); err == nil && cfg.MaxSize <= 0 {
				err = fmt.Errorf("not above 0")
			}
		case key == "max-file" && cfg.Driver != logNone:
			if cfg.MaxFiles, err = strconv.Atoi(value); err == nil && cfg.MaxFiles < 1 {
				err = fmt.Errorf("not at least 1")
			}
		default:
			return cfg, fmt.Errorf("log driver %s has no option %q", cfg.Driver, key)
		}
		if err != nil {
			return cfg, fmt.Errorf("log option %s %q: %w", key, value, err)
		}
	}
	if cfg.Driver != logNone {
		cfg.Path = logPath(row, dir)
	}
	return cfg, nil
}

// Logs calls emit for every line that a container has written, as the options say. Following ends when the container
// has ended, or has been removed.
func (e *Engine) Logs(ctx context.Context, ref string, o *api.LogOptions, emit func(*api.LogLine) error) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	row := c.get()
	if row.LogPath == "" {
		return errorf(ErrPrecondition, "container %s keeps no log (log driver none)", row.Name)
	}
	done := make(chan struct{})
	if o.GetFollow() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(done)
			c.await(ctx, func() bool { return c.removed || ended(c.row) })
		}()
	}
	return log.Read(ctx, row.LogPath, log.FromAPI(o, done), emit)
}

// ended says that a container writes no more. One that was never started may still.
func ended(row *api.Container) bool {
	return row.State == api.ContainerState_EXITED || row.State == api.ContainerState_DEAD
}
