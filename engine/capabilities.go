//go:build linux

package engine

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/engine/spec"
)

// boundingCaps are the capabilities that this daemon could pass on.
func boundingCaps() ([]string, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if hex, ok := strings.CutPrefix(s.Text(), "CapBnd:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err != nil {
				return nil, fmt.Errorf("read capabilities: %w", err)
			}
			return spec.CapNames(mask), nil
		}
	}
	return nil, fmt.Errorf("read capabilities: /proc/self/status has no CapBnd")
}
