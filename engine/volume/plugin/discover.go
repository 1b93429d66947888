//go:build linux

package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/internal/names"
)

// address says how to reach a plugin. It is comparable: another address is another plugin.
type address struct {
	network, target string // unix and a path, or tcp and HOST:PORT
	tls             bool
	tlsConfig       tlsFiles
}

func (a address) String() string { return a.network + "://" + a.target }

// tlsFiles is TLSConfig in a NAME.json.
type tlsFiles struct {
	InsecureSkipVerify        bool
	CAFile, CertFile, KeyFile string
}

// locate finds a plugin by name.
func (d Dirs) locate(name string) (address, error) {
	name = strings.TrimSuffix(name, ":latest")
	if !names.Object(name) {
		return address{}, fmt.Errorf("%w: %q is not the name of a driver: managed plugins (VENDOR/NAME) are not supported", volume.ErrNoDriver, name)
	}
	for _, path := range []string{filepath.Join(d.Sockets, name+".sock"), filepath.Join(d.Sockets, name, name+".sock")} {
		if st, err := os.Stat(path); err == nil && st.Mode()&fs.ModeSocket != 0 {
			return address{network: "unix", target: path}, nil
		}
	}
	for _, dir := range d.Specs {
		for _, read := range []func(string) (address, error){readSpec, readSpecJSON} {
			at, err := read(filepath.Join(dir, name))
			if !errors.Is(err, fs.ErrNotExist) {
				return at, err
			}
		}
	}
	return address{}, fmt.Errorf("%w: %s: there is no %s.sock in %s, and no %s.spec or .json in %s: start that plugin, or use the driver local",
		volume.ErrNoDriver, name, name, d.Sockets, name, strings.Join(d.Specs, " or "))
}

func readSpec(path string) (address, error) {
	path += ".spec"
	b, err := os.ReadFile(path)
	if err != nil {
		return address{}, err
	}
	return parseAddress(path, strings.TrimSpace(string(b)))
}

func readSpecJSON(path string) (address, error) {
	path += ".json"
	b, err := os.ReadFile(path)
	if err != nil {
		return address{}, err
	}
	var spec struct {
		Addr      string
		TLSConfig *tlsFiles
	}
	if err := json.Unmarshal(b, &spec); err != nil {
		return address{}, fmt.Errorf("read %s: %w", path, err)
	}
	at, err := parseAddress(path, spec.Addr)
	if spec.TLSConfig != nil {
		at.tls, at.tlsConfig = true, *spec.TLSConfig
	}
	return at, err
}

func parseAddress(file, s string) (address, error) {
	scheme, target, _ := strings.Cut(s, "://")
	at := address{target: strings.TrimSuffix(target, "/")}
	switch scheme {
	case "unix":
		at.network, at.target = "unix", target
	case "tcp", "http":
		at.network = "tcp"
	case "https":
		at.network, at.tls = "tcp", true
	}
	if at.network == "" || target == "" {
		return at, fmt.Errorf("%s: %q is not the address of a plugin: unix:///PATH, tcp://HOST:PORT or https://HOST:PORT", file, s)
	}
	return at, nil
}
