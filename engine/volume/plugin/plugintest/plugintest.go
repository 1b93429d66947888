//go:build linux

// Package plugintest is a volume plugin for tests, as somebody else could have written it: it keeps directories and mounts
// them.
//
// Serve is all of it.
package plugintest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Plugin keeps volume NAME in DIR/files/NAME and mounts it at DIR/mounts/NAME. Its only option is mode. It refuses what was
// done already, since the protocol allows that.
type Plugin struct {
	dir   string
	Scope string

	mu     sync.Mutex
	users  map[string]map[string]bool // volume to mount IDs
	called []string
}

type request struct {
	Name, ID string
	Opts     map[string]string
}

type answer map[string]any

// New makes a plugin that keeps its volumes in dir.
func New(t *testing.T, dir string) *Plugin {
	t.Helper()
	p := &Plugin{dir: dir, Scope: "global", users: map[string]map[string]bool{}}
	for _, sub := range []string{"files", "mounts"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		left, _ := filepath.Glob(dir + "/mounts/*")
		for _, point := range left {
			unix.Unmount(point, unix.MNT_DETACH)
		}
	})
	return p
}

// Serve answers at a unix socket until stop is called, or the test ends.
func (p *Plugin) Serve(t *testing.T, socket string) (stop func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: p}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return func() { s.Close() }
}

// Files is where a volume's files are, mounted or not.
func (p *Plugin) Files(name string) string { return filepath.Join(p.dir, "files", name) }

// Users is how many mount IDs a volume has.
func (p *Plugin) Users(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.users[name])
}

// Called are the requests so far, as METHOD NAME.
func (p *Plugin) Called() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.called...)
}

func (p *Plugin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var q request
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Accept"), "application/vnd.docker.plugins.v1") {
		http.Error(w, "not the plugin protocol", http.StatusBadRequest)
		return
	}
	json.NewDecoder(r.Body).Decode(&q) // Activate has no body
	method := strings.TrimPrefix(r.URL.Path, "/VolumeDriver.")
	p.called = append(p.called, method+" "+q.Name)
	a, err := p.do(method, q)
	if err != nil {
		a = answer{"Err": err.Error()}
		w.WriteHeader(http.StatusInternalServerError)
	}
	json.NewEncoder(w).Encode(a)
}

func (p *Plugin) do(method string, q request) (answer, error) {
	switch method {
	case "/Plugin.Activate":
		return answer{"Implements": []string{"VolumeDriver"}}, nil
	case "Capabilities":
		return answer{"Capabilities": answer{"Scope": p.Scope}}, nil
	case "List":
		return p.list()
	case "Create":
		return answer{"Err": ""}, p.create(q)
	}
	if _, err := os.Stat(p.Files(q.Name)); err != nil || q.Name == "" {
		return nil, fmt.Errorf("volume %s\nis unknown", q.Name)
	}
	switch method {
	case "Get":
		return answer{"Volume": answer{"Name": q.Name, "Mountpoint": p.point(q.Name)}, "Err": ""}, nil
	case "Path":
		return answer{"Mountpoint": p.point(q.Name), "Err": ""}, nil
	case "Mount":
		return p.mount(q)
	case "Unmount":
		return answer{}, p.unmount(q)
	case "Remove":
		return answer{}, p.remove(q)
	}
	return nil, fmt.Errorf("unknown method %s", method)
}

func (p *Plugin) point(name string) string {
	if len(p.users[name]) == 0 {
		return ""
	}
	return filepath.Join(p.dir, "mounts", name)
}

func (p *Plugin) list() (answer, error) {
	entries, err := os.ReadDir(filepath.Join(p.dir, "files"))
	all := []answer{}
	for _, e := range entries {
		all = append(all, answer{"Name": e.Name(), "Mountpoint": p.point(e.Name())})
	}
	return answer{"Volumes": all, "Err": ""}, err
}

func (p *Plugin) create(q request) error {
	for key := range q.Opts {
		if key != "mode" {
			return fmt.Errorf("unknown option %s", key)
		}
	}
	return os.Mkdir(p.Files(q.Name), 0o755)
}

func (p *Plugin) mount(q request) (answer, error) {
	first := len(p.users[q.Name]) == 0
	if first {
		p.users[q.Name] = map[string]bool{}
	}
	p.users[q.Name][q.ID] = true
	point := p.point(q.Name)
	if !first {
		return answer{"Mountpoint": point}, nil
	}
	if err := os.MkdirAll(point, 0o755); err != nil {
		return nil, err
	}
	return answer{"Mountpoint": point}, unix.Mount(p.Files(q.Name), point, "", unix.MS_BIND, "")
}

func (p *Plugin) unmount(q request) error {
	if !p.users[q.Name][q.ID] {
		return fmt.Errorf("%s is not mounted for %s", q.Name, q.ID)
	}
	point := p.point(q.Name)
	delete(p.users[q.Name], q.ID)
	if len(p.users[q.Name]) > 0 {
		return nil
	}
	return unix.Unmount(point, unix.MNT_DETACH)
}

func (p *Plugin) remove(q request) error {
	if len(p.users[q.Name]) > 0 {
		return fmt.Errorf("%s is mounted", q.Name)
	}
	os.Remove(filepath.Join(p.dir, "mounts", q.Name))
	return os.RemoveAll(p.Files(q.Name))
}
