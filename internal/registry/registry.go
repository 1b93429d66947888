// Package registry runs Debian's docker-registry for tests of engine and cluster.
package registry

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Command is a registry that will listen at address, HOST:PORT, and keep all that it has in dir. It is not started yet: who
// wants it in another namespace starts it there. It answers at /v2/ when it is ready. Without the program the error is
// exec.ErrNotFound.
func Command(dir, address string) (*exec.Cmd, error) {
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return exec.Command(bin, "serve", config), nil
}
