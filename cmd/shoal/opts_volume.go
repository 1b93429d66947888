package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// parseVolume reads -v's form: [SOURCE:]TARGET[:OPTIONS].
func parseVolume(s string) (*api.Mount, error) {
	parts := strings.Split(s, ":")
	m := &api.Mount{Type: api.Mount_VOLUME}
	switch len(parts) {
	case 1:
		m.Target = parts[0]
	case 2, 3:
		m.Source, m.Target = parts[0], parts[1]
	default:
		return nil, fmt.Errorf("use [SOURCE:]TARGET[:OPTIONS]")
	}
	if len(parts) == 3 {
		if err := volumeOptions(m, parts[2]); err != nil {
			return nil, err
		}
	}
	if err := volumeSource(m); err != nil {
		return nil, err
	}
	if len(parts) > 1 && m.Source == "" {
		return nil, fmt.Errorf("empty source: use [SOURCE:]TARGET[:OPTIONS]")
	}
	if m.Propagation != "" && m.Type != api.Mount_BIND {
		return nil, fmt.Errorf("option '%s' is for bind mounts only", m.Propagation)
	}
	if m.NoCopy && m.Type == api.Mount_BIND {
		return nil, fmt.Errorf("option 'nocopy' is for volumes only")
	}
	return m, checkMount(m, nil)
}

// volumeSource tells paths from names. A path that is missing is made, as Docker does for -v.
func volumeSource(m *api.Mount) error {
	if rest, ok := strings.CutPrefix(m.Source, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("expand '~': %w", err)
		}
		m.Source = filepath.Join(home, rest)
	}
	switch {
	case strings.HasPrefix(m.Source, "."):
		abs, err := filepath.Abs(m.Source)
		if err != nil {
			return err
		}
		m.Source, m.Type, m.CreateSource = abs, api.Mount_BIND, true
	case strings.HasPrefix(m.Source, "/"):
		m.Type, m.CreateSource = api.Mount_BIND, true
	}
	return nil
}

// consistencies say how far a container's view of a directory may lag behind the host's. On Linux it never does, so that each is kept.
var consistencies = []string{"consistent", "cached", "delegated", "default"}

func volumeOptions(m *api.Mount, options string) error {
	words := strings.Split(options, ",")
	if slices.Contains(words, "ro") && slices.Contains(words, "rw") {
		return fmt.Errorf("options 'ro' and 'rw' exclude each other")
	}
	for _, o := range words {
		switch {
		case o == "ro":
			m.ReadOnly = true
		case o == "rw", slices.Contains(consistencies, o):
		case o == "nocopy":
			m.NoCopy = true
		case o == "z" || o == "Z":
			if m.Relabel != "" && m.Relabel != o {
				return fmt.Errorf("options 'z' and 'Z' exclude each other")
			}
			m.Relabel = o
		case slices.Contains(propagations, o):
			m.Propagation = o
		default:
			return fmt.Errorf("unknown option '%s': use ro, rw, z, Z, nocopy or a propagation", o)
		}
	}
	return nil
}
