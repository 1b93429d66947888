package main

import (
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// mountOpt is --mount: type=bind,source=/a,target=/b,... repeated.
type mountOpt struct{ values []*api.Mount }

func (m *mountOpt) String() string { return "" }
func (m *mountOpt) Type() string   { return "mount" }

func (m *mountOpt) Set(s string) error {
	mount, err := parseMount(s)
	if err != nil {
		return err
	}
	m.values = append(m.values, mount)
	return nil
}

func isVolumeName(s string) bool { return len(s) >= 2 && names.Object(s) }

// parseMount reads the long form.
func parseMount(s string) (*api.Mount, error) {
	fields, err := csvFields(s)
	if err != nil {
		return nil, err
	}
	m := &api.Mount{Type: api.Mount_VOLUME}
	seen := map[string]bool{}
	for _, f := range fields {
		key, value, hasValue := strings.Cut(f, "=")
		key = strings.ToLower(key)
		if err := setMountField(m, key, value, hasValue); err != nil {
			return nil, err
		}
		seen[strings.SplitN(key, "-", 2)[0]] = true
	}
	return m, checkMount(m, seen)
}

func csvFields(s string) ([]string, error) {
	fields, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil || len(fields) == 0 {
		return nil, fmt.Errorf("expected KEY=VALUE pairs with commas between them")
	}
	return fields, nil
}

func setMountField(m *api.Mount, key, value string, hasValue bool) error {
	if !hasValue && !slices.Contains([]string{"readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"}, key) {
		return fmt.Errorf("invalid field '%s' must be a key=value pair", key)
	}
	var err error
	switch key {
	case "type":
		m.Type, err = mountType(value)
	case "source", "src":
		m.Source = value
		if strings.HasPrefix(value, "."+string(filepath.Separator)) || value == "." || strings.HasPrefix(value, "..") {
			m.Source, err = filepath.Abs(value)
		}
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly, err = mountBool(key, value, hasValue)
	case "consistency":
		if !slices.Contains(consistencies, value) {
			return fmt.Errorf("invalid value for consistency: %s (use %s)", value, strings.Join(consistencies, ", "))
		}
	case "bind-propagation":
		m.Propagation, err = mountPropagation(value)
	case "bind-nonrecursive":
		m.NonRecursive, err = mountBool(key, value, hasValue)
	case "bind-recursive":
		err = mountRecursive(m, value)
	case "bind-create-src":
		m.CreateSource, err = mountBool(key, value, hasValue)
	case "volume-nocopy":
		m.NoCopy, err = mountBool(key, value, hasValue)
	case "volume-subpath":
		m.Subpath = value
	case "volume-driver":
		m.Driver = value
	case "volume-opt":
		m.DriverOpts, err = addPair(m.DriverOpts, key, value)
	case "volume-label":
		m.Labels, err = addPair(m.Labels, key, value)
	case "tmpfs-size":
		m.TmpfsSizeBytes, err = units.RAMInBytes(value)
		if err != nil || m.TmpfsSizeBytes < 0 {
			return fmt.Errorf("invalid value for tmpfs-size: %s", value)
		}
	case "tmpfs-mode":
		mode, e := strconv.ParseUint(value, 8, 32)
		if e != nil {
			return fmt.Errorf("invalid value for tmpfs-mode: %s is not an octal number", value)
		}
		m.TmpfsMode = uint32(mode)
	default:
		return fmt.Errorf("unknown field '%s': use type, source, target, readonly, bind-propagation, bind-recursive, bind-create-src, volume-driver, volume-opt, volume-label, volume-nocopy, volume-subpath, tmpfs-size, tmpfs-mode", key)
	}
	return err
}

func mountType(s string) (api.Mount_Type, error) {
	switch strings.ToLower(s) {
	case "bind":
		return api.Mount_BIND, nil
	case "volume":
		return api.Mount_VOLUME, nil
	case "tmpfs":
		return api.Mount_TMPFS, nil
	}
	return 0, fmt.Errorf("unsupported mount type '%s': use bind, volume or tmpfs", s)
}

func mountBool(key, value string, hasValue bool) (bool, error) {
	if !hasValue {
		return true, nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("invalid value for %s: %s (use true or false)", key, value)
	}
	return b, nil
}

func mountRecursive(m *api.Mount, s string) error {
	switch s {
	case "enabled":
		m.NonRecursive = false
	case "disabled":
		m.NonRecursive = true
	case "writable", "readonly":
		m.ReadOnlyRecursion = s
	default:
		return fmt.Errorf("invalid value for bind-recursive: %s (use enabled, disabled, writable or readonly)", s)
	}
	return nil
}

var propagations = []string{"rprivate", "private", "rshared", "shared", "rslave", "slave"}

func mountPropagation(s string) (string, error) {
	if !slices.Contains(propagations, s) {
		return "", fmt.Errorf("invalid value for bind-propagation: %s (use %s)", s, strings.Join(propagations, ", "))
	}
	return s, nil
}

func addPair(m map[string]string, key, value string) (map[string]string, error) {
	k, v, _ := strings.Cut(value, "=")
	if k == "" {
		return nil, fmt.Errorf("invalid value for %s: expected KEY=VALUE", key)
	}
	if m == nil {
		m = map[string]string{}
	}
	m[k] = v
	return m, nil
}
