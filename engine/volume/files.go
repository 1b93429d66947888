//go:build linux

package volume

import (
	"encoding/json"
	"os"

	"github.com/shoal-dev/shoal/internal/durable"
)

// unfinishedPrefix begins the names of files that earlier versions were writing.
const unfinishedPrefix = ".tmp-"

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// writeJSON replaces a file in one step; kept says that a power cut must not undo it.
func writeJSON(path string, v any, kept bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if kept {
		return durable.Write(path, b, 0o600)
	}
	return durable.Replace(path, b, 0o600)
}
