// Package cdi gives containers the devices that vendors describe in CDI specifications (Container Device Interface, a CNCF
// project): files in JSON or YAML that say which device nodes, mounts, variables and hooks a named device consists of.
//
// Files are read anew for every container that starts: what a vendor's tool has just written counts, and a device that is
// gone is refused. What it means is the project's own library's to know; which directories, and how a refusal reads, is ours.
package cdi

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
)

// DefaultDirs are where specifications are unless told otherwise; those of later directories count more.
func DefaultDirs() []string { return []string{"/etc/cdi", "/var/run/cdi"} }

// Specs are the specifications in some directories. Its methods may be called concurrently.
type Specs struct{ dirs []string }

// New looks into dirs. An empty name is none, so that []string{""} switches CDI off.
func New(dirs []string) (*Specs, error) {
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d == "" })
	for i, d := range dirs {
		if !filepath.IsAbs(d) {
			return nil, fmt.Errorf("CDI specification directory %q is not an absolute path", d)
		}
		dirs[i] = filepath.Clean(d)
	}
	return &Specs{dirs}, nil
}

// Dirs are the directories.
func (s *Specs) Dirs() []string { return s.dirs }

// Check refuses what cannot be a device's name: VENDOR/CLASS=NAME.
func Check(names []string) error {
	for _, n := range names {
		if _, _, _, err := parser.ParseQualifiedName(n); err != nil {
			return fmt.Errorf("CDI device %q is not VENDOR/CLASS=NAME: %w", n, err)
		}
	}
	return nil
}

// read reads all files. The library panics at a null in a list.
func (s *Specs) read() (cache *cdi.Cache, err error) {
	defer broken(&err, strings.Join(s.dirs, ", "))
	cache, _ = cdi.NewCache(cdi.WithAutoRefresh(false), cdi.WithSpecDirs(s.dirs...)) // its error is always nil
	return cache, nil
}

// broken makes a panic over a file an error.
func broken(err *error, where string) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("a CDI specification in %s is broken: it has null where there must be something", where)
	}
}

// Devices are the names of all devices, and why some files give none.
func (s *Specs) Devices() (names, problems []string) {
	if len(s.dirs) == 0 {
		return nil, nil
	}
	cache, err := s.read()
	if err != nil {
		return nil, []string{err.Error()}
	}
	errs := cache.GetErrors()
	for _, path := range slices.Sorted(maps.Keys(errs)) {
		for _, err := range errs[path] {
			problems = append(problems, "CDI specification "+path+": "+oneLine(err))
		}
	}
	return cache.ListDevices(), problems
}

// Inject edits a container's configuration so that it has the devices.
func (s *Specs) Inject(config *specs.Spec, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if len(s.dirs) == 0 {
		return fmt.Errorf("CDI device %s: this daemon has no directory of CDI specifications: give it one with --cdi-spec-dir", names[0])
	}
	cache, err := s.read()
	if err != nil {
		return err
	}
	missing, err := inject(cache, config, names)
	if len(missing) > 0 {
		return s.explain(cache, missing[0])
	}
	if err != nil {
		return fmt.Errorf("CDI device %s: %s", strings.Join(names, ", "), oneLine(err))
	}
	tidy(config)
	return nil
}

func inject(cache *cdi.Cache, config *specs.Spec, names []string) (missing []string, err error) {
	defer broken(&err, strings.Join(cache.GetSpecDirectories(), ", "))
	return cache.InjectDevices(config, names...)
}

// explain says why a device is not there: two files describe it, the file that should is broken, or none does.
func (s *Specs) explain(cache *cdi.Cache, name string) error {
	errs := cache.GetErrors()
	paths := slices.Sorted(maps.Keys(errs))
	for _, path := range paths {
		for _, err := range errs[path] {
			if strings.Contains(err.Error(), fmt.Sprintf("conflicting device %q", name)) {
				return fmt.Errorf("CDI device %s is described twice: %s", name, oneLine(err))
			}
		}
	}
	why := fmt.Sprintf("CDI device %s: no specification in %s has it", name, strings.Join(s.dirs, ", "))
	if len(paths) > 0 {
		why += fmt.Sprintf(", and %s is broken: %s", paths[0], oneLine(errs[paths[0]][0]))
	}
	return fmt.Errorf("%s", why)
}

// tidy takes out what no runtime has to see: rules that allow nothing (permissions "none"), and the library's own wish that
// mounts have mapped owners, which no bind from the host has here.
func tidy(config *specs.Spec) {
	if l := config.Linux; l != nil && l.Resources != nil {
		l.Resources.Devices = slices.DeleteFunc(l.Resources.Devices, func(d specs.LinuxDeviceCgroup) bool { return d.Allow && d.Access == "" })
	}
	for i, m := range config.Mounts {
		if slices.Contains(m.Options, "idmap") {
			config.Mounts[i].Options = slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "idmap" })
		}
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
