package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path"
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

func volumeOptions(m *api.Mount, options string) error {
	for _, o := range strings.Split(options, ",") {
		switch {
		case o == "ro":
			m.ReadOnly = true
		case o == "rw":
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

// tmpfsOptions are those of the kernel that --tmpfs passes on; some have a value.
var tmpfsOptions = []string{"exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "relatime", "uid=", "gid=", "nr_inodes="}

// parseTmpfs reads run's --tmpfs: TARGET[:size=64m,mode=1777,exec].
func parseTmpfs(s string) (*api.Mount, error) {
	target, options, _ := strings.Cut(s, ":")
	m := &api.Mount{Type: api.Mount_TMPFS, Target: target}
	for _, o := range strings.FieldsFunc(options, func(r rune) bool { return r == ',' }) {
		if err := tmpfsOption(m, o); err != nil {
			return nil, err
		}
	}
	return m, checkMount(m, nil)
}

func tmpfsOption(m *api.Mount, o string) error {
	key, value, hasValue := strings.Cut(o, "=")
	switch {
	case key == "size" || key == "mode":
		return setMountField(m, "tmpfs-"+key, value, hasValue)
	case o == "ro" || o == "rw":
		m.ReadOnly = o == "ro"
	case !hasValue && slices.Contains(tmpfsOptions, key), hasValue && value != "" && slices.Contains(tmpfsOptions, key+"="):
		m.TmpfsOptions = append(m.TmpfsOptions, o)
	default:
		return fmt.Errorf("unknown tmpfs option '%s': use size=, mode=, ro, rw, %s", o, strings.Join(tmpfsOptions, ", "))
	}
	return nil
}
