// Package shim finds the shoal-shim program and speaks with running shims.
//
// Path gives a file with the program: embedded in release builds, found beside
// the daemon otherwise. Conn is a connection to the shim of one container; the
// language is engine/shim/wire. Starting shims is engine/runtime's work.
package shim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotFound means that there is no shoal-shim program on this machine.
var ErrNotFound = errors.New("shoal-shim not found: set SHOAL_SHIM, put it beside shoal or in PATH, or build shoal with -tags embed_shim")

// Path returns a file with the shim program. An embedded one is written below
// runDir, once per version; otherwise $SHOAL_SHIM, the directory of this
// executable and PATH are searched.
func Path(runDir string) (string, error) {
	if data := embedded(); data != nil {
		return install(runDir, data)
	}
	if p := os.Getenv("SHOAL_SHIM"); p != "" {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("SHOAL_SHIM: %w", err)
		}
		return p, nil
	}
	if self, err := os.Executable(); err == nil {
		p := filepath.Join(filepath.Dir(self), "shoal-shim")
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	if p, err := exec.LookPath("shoal-shim"); err == nil {
		return filepath.Abs(p)
	}
	return "", ErrNotFound
}

// install writes the program under a name made of its hash, by rename, so that
// several daemons and versions can share a directory.
func install(dir string, data []byte) (string, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	path := filepath.Join(dir, "shoal-shim-"+hex.EncodeToString(sum[:8]))
	if st, err := os.Stat(path); err == nil && st.Size() == int64(len(data)) {
		return path, nil
	}
	f, err := os.CreateTemp(dir, ".shoal-shim-*")
	if err != nil {
		return "", fmt.Errorf("install shim: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o755)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("install shim: %w", err)
	}
	return path, nil
}
