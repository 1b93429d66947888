//go:build linux

package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// Drivers of logs. local is json-file with bounds, and compressed, by default.
const (
	logJSON  = "json-file"
	logLocal = "local"
	logNone  = "none"

	localMaxSize  = 20 << 20
	localMaxFiles = 5
)

// logSettings are a container's log options: what the shim does, and what the daemon does with what it wrote.
type logSettings struct {
	runtime.LogConfig
	compress bool // rotated files
	choose   attributes
}

// logConfig reads a container's log options.
func logConfig(row *api.Container, dir string) (logSettings, error) {
	l := row.Spec.GetLog()
	s := logSettings{LogConfig: runtime.LogConfig{Driver: l.GetDriver(), MaxFiles: 1}}
	switch s.Driver {
	case "":
		s.Driver = logJSON
	case logJSON, logNone:
	case logLocal:
		s.MaxSize, s.MaxFiles = localMaxSize, localMaxFiles
	default:
		return s, fmt.Errorf("log driver %q is not json-file, local or none", s.Driver)
	}
	for key, value := range l.GetOptions() {
		if s.Driver == logNone {
			return s, fmt.Errorf("log driver %s has no option %q", s.Driver, key)
		}
		if err := s.set(key, value); err != nil {
			return s, fmt.Errorf("--log-opt %s=%s: %w", key, value, err)
		}
	}
	if _, said := l.GetOptions()["compress"]; s.Driver == logLocal && !said {
		s.compress = s.MaxFiles > 1
	}
	if s.compress && (s.MaxSize == 0 || s.MaxFiles < 2) {
		return s, errors.New("--log-opt compress is for files that are full: give max-size, and max-file of at least 2")
	}
	if s.Driver != logNone {
		s.Path = logPath(row, dir)
	}
	return s, nil
}

func (s *logSettings) set(key, value string) (err error) {
	switch key {
	case "max-size":
		if s.MaxSize, err = units.RAMInBytes(value); err == nil && s.MaxSize <= 0 {
			err = errors.New("not above 0")
		}
	case "max-file":
		if s.MaxFiles, err = strconv.Atoi(value); err != nil || s.MaxFiles < 1 {
			err = errors.New("not a number from 1 on")
		}
	case "compress":
		if s.compress, err = strconv.ParseBool(value); err != nil {
			err = errors.New("neither true nor false")
		}
	case "labels":
		s.choose.labels.names = strings.Split(value, ",")
	case "labels-regex":
		s.choose.labels.pattern, err = pattern(value)
	case "env":
		s.choose.env.names = strings.Split(value, ",")
	case "env-regex":
		s.choose.env.pattern, err = pattern(value)
	case "tag":
		s.choose.tag, err = value, checkTag(value)
	case "mode":
		if value != "blocking" {
			err = errors.New("only blocking is there: a log is a file of its host, which nothing waits for longer than for the disk")
		}
	case "max-buffer-size":
		err = errors.New("belongs to mode=non-blocking, which is not there: a log is a file of its host, which nothing waits for longer than for the disk")
	default:
		err = fmt.Errorf("log driver %s has no such option", s.Driver)
	}
	return err
}
