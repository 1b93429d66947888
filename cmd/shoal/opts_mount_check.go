package main

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// checkMount refuses what cannot be together. seen holds the first word of every key that was given.
func checkMount(m *api.Mount, seen map[string]bool) error {
	if err := checkTarget(m.Target); err != nil {
		return err
	}
	kind := lower(m.Type)
	for _, prefix := range []string{"bind", "volume", "tmpfs"} {
		if seen[prefix] && prefix != kind {
			return fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", prefix, kind)
		}
	}
	switch m.Type {
	case api.Mount_BIND:
		if m.Source == "" {
			return fmt.Errorf("source is required for a bind mount")
		}
		if !path.IsAbs(m.Source) && !filepath.IsAbs(m.Source) {
			return fmt.Errorf("source of a bind mount must be an absolute path: %s", m.Source)
		}
		return checkRecursion(m)
	case api.Mount_VOLUME:
		if m.Source != "" && !isVolumeName(m.Source) && !strings.Contains(m.Source, "{{") { // a template of a service
			return fmt.Errorf("invalid volume name '%s': use letters, digits, '_', '.' and '-', at least two, or type=bind for a path", m.Source)
		}
	case api.Mount_TMPFS:
		if m.Source != "" {
			return fmt.Errorf("a tmpfs mount has no source")
		}
	}
	return nil
}

func checkRecursion(m *api.Mount) error {
	switch {
	case m.ReadOnlyRecursion != "" && !m.ReadOnly:
		return fmt.Errorf("bind-recursive=%s is for read-only mounts: add readonly", m.ReadOnlyRecursion)
	case m.ReadOnlyRecursion == "readonly" && m.Propagation != "" && m.Propagation != "rprivate" && m.Propagation != "private":
		return fmt.Errorf("bind-recursive=readonly needs bind-propagation=rprivate, not %s: what is mounted later could be written to", m.Propagation)
	}
	return nil
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return fmt.Errorf("target is required")
	case !path.IsAbs(target):
		return fmt.Errorf("target must be an absolute path: %s", target)
	case path.Clean(target) == "/":
		return fmt.Errorf("target cannot be '/'")
	}
	return nil
}
