//go:build linux

package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestFormat: a directory without a mark, or with an older one, gets this daemon's; a newer one stays and is refused.
func TestFormat(t *testing.T) {
	own := strconv.Itoa(dataFormat)
	for mark, want := range map[string]string{
		"": "", "1\n": "", own: "",
		strconv.Itoa(dataFormat+1) + "\n": "was written by a newer version of Shoal (format " + strconv.Itoa(dataFormat+1) + ", this one knows up to " + own + ")",
		"0\n":                             "not the number of a format", "two": "not the number of a format",
	} {
		cfg := Config{DataDir: t.TempDir(), RunDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
		path := filepath.Join(cfg.DataDir, formatFile)
		if mark != "" {
			if err := os.WriteFile(path, []byte(mark), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		unlock, err := prepare(cfg)
		now, _ := os.ReadFile(path)
		if want == "" {
			if err != nil || strings.TrimSpace(string(now)) != own {
				t.Errorf("mark %q: now %q, %v", mark, now, err)
				continue
			}
			unlock()
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || string(now) != mark {
			t.Errorf("mark %q: now %q, %v, want %q", mark, now, err, want)
		}
		data, err := lockFile(filepath.Join(cfg.DataDir, "daemon.lock"), "data directory")
		if err != nil {
			t.Errorf("mark %q: after the refusal: %v", mark, err)
			continue
		}
		data.Close()
	}
}
