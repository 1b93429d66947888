//go:build linux

package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/internal/durable"
)

// infoFile describes a snapshot, in its directory. infoAttr, an attribute of the directory, says the same: an attribute is in the
// file system's journal, so a snapshot that is there after a power cut has it, while the file may be empty. To wait for
// the file at each creation of a container would cost a write to the disk.
const (
	infoFile = "info.json"
	infoAttr = "trusted.shoal.snapshot"
)

// damagedExt ends the name of a snapshot that neither of them describes.
const damagedExt = ".damaged"

var errDamaged = errors.New("the snapshot's description is damaged")

func writeInfo(dir string, info Info) error {
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := unix.Setxattr(dir, infoAttr, b, 0); err != nil {
		return fmt.Errorf("set attribute %s of %s: %w", infoAttr, dir, err)
	}
	return os.WriteFile(filepath.Join(dir, infoFile), b, 0o600)
}

// readInfo prefers the file: snapshots of earlier versions have nothing else. Where the file is damaged it is written anew.
func readInfo(dir string) (info Info, err error) {
	path := filepath.Join(dir, infoFile)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return info, err
	}
	if json.Unmarshal(b, &info) == nil {
		return info, nil
	}
	attr := make([]byte, 4<<10)
	n, err := unix.Getxattr(dir, infoAttr, attr)
	if err != nil || json.Unmarshal(attr[:n], &info) != nil {
		return info, errDamaged
	}
	return info, durable.Write(path, attr[:n], 0o600)
}
