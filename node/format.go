//go:build linux

package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/internal/durable"
)

// dataFormat is what this daemon writes below the data directory, and what its shims speak. It grows when an older daemon would
// misunderstand something: a row, a mark, a frame of a shim. What only adds a field that others may ignore is no new format.
//
//	1  the first; there was no file that says so
//	2  volumes of several drivers, headers of shims for other runtimes
const dataFormat = 2

const formatFile = "format"

// checkFormat refuses a data directory that a newer daemon has written, before anything is touched, and marks it as this one's.
func checkFormat(dataDir string, log *slog.Logger) error {
	path := filepath.Join(dataDir, formatFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read format of data directory: %w", err)
	}
	have := 1
	if err == nil {
		if have, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil || have < 1 {
			return fmt.Errorf("%s holds %q, not the number of a format: nothing was changed; start the version that wrote it, or restore the file", path, text)
		}
	}
	if have > dataFormat {
		return fmt.Errorf("data directory %s was written by a newer version of Shoal (format %d, this one knows up to %d): start that version again; its containers go on, nothing was changed",
			dataDir, have, dataFormat)
	}
	if have < dataFormat {
		// On a full disk a daemon is needed more than this mark.
		if err := durable.Write(path, fmt.Appendln(nil, dataFormat), 0o600); err != nil {
			log.Warn("the data directory has no mark of its format: an older daemon would not refuse it", "error", err)
		}
	}
	return nil
}
