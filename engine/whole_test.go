//go:build linux

package engine

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/engine/enginetest"
	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/proto/api"
)

// whole checks that all that is on disk and in the kernel follows from rows, whatever these say.
func (l *lab) whole() {
	l.t.Helper()
	for _, odd := range slices.Concat(l.oddFiles(), l.oddImages(), l.oddContainers(), l.oddMounts(), l.oddLinks()) {
		l.t.Error(odd)
	}
}

// oddFiles are files that were being written, and directories that belong to nothing.
func (l *lab) oddFiles() (odd []string) {
	filepath.WalkDir(filepath.Join(l.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		parent := filepath.Base(filepath.Dir(path))
		switch {
		case err != nil, name == "fs" || name == "work" || name == "_data": // containers' own
			return fs.SkipDir
		case strings.HasSuffix(name, durable.UnfinishedExt), strings.HasPrefix(name, ".tmp-"), strings.HasPrefix(name, "new-"), strings.HasPrefix(name, "old-"),
			name == unfinishedFile, name == "filling", strings.HasSuffix(name, ".compressing"), parent == "ingest" && !l.pulling, parent == rowDirectory && strings.Contains(name, "."):
			odd = append(odd, "left on disk: "+path)
		}
		return nil
	})
	for _, dir := range []string{"run/bundles", "run/netns", "run/userns", "run/shims"} {
		entries, _ := os.ReadDir(filepath.Join(l.dir, dir))
		for _, e := range entries {
			if row, err := l.Inspect(l.ctx(), e.Name()); err != nil || !active(row.State) {
				odd = append(odd, fmt.Sprintf("left in %s: %s", dir, e.Name()))
			}
		}
	}
	volumes, _ := os.ReadDir(filepath.Join(l.dir, "data/volumes"))
	for _, e := range volumes {
		if _, err := l.VolumeStore().Get(l.ctx(), e.Name()); err != nil {
			odd = append(odd, fmt.Sprintf("half a volume: %v", err))
		}
	}
	return odd
}

// oddImages are blobs and layers that images lack or that belong to none, and blobs that are not what their names say.
func (l *lab) oddImages() (odd []string) {
	images, err := l.Images().List(l.ctx())
	if err != nil {
		return []string{err.Error()}
	}
	blobs, layers := map[string]bool{}, map[string]bool{}
	for _, img := range images {
		var m v1.Manifest
		raw, err := os.ReadFile(l.blob(img.ManifestDigest))
		if err == nil {
			err = json.Unmarshal(raw, &m)
		}
		if err != nil {
			odd = append(odd, fmt.Sprintf("image %s has no manifest: %v", img.Id, err))
		}
		blobs[img.Id], blobs[img.ManifestDigest] = true, true
		for i, d := range m.Layers {
			blobs[d.Digest.String()] = true
			chain, _ := l.Images().ChainID(&api.Image{Layers: img.Layers[:i+1]})
			layers[chain] = true
		}
	}
	have, _ := os.ReadDir(l.blob("sha256:"))
	for _, e := range have {
		raw, _ := os.ReadFile(l.blob("sha256:" + e.Name()))
		if fmt.Sprintf("%x", sha256.Sum256(raw)) != e.Name() {
			odd = append(odd, "a blob is not what it should be: "+e.Name())
		}
		if !blobs["sha256:"+e.Name()] && !l.pulling {
			odd = append(odd, "a blob of no image: "+e.Name())
		}
		delete(blobs, "sha256:"+e.Name())
	}
	snapshots, _ := l.cfg.Snapshots.List(l.ctx())
	for _, s := range snapshots {
		if !s.Active && !layers[s.Key] && !l.pulling {
			odd = append(odd, "a layer of no image: "+s.Key)
		}
		if s.Active && !l.known(s.Key) {
			odd = append(odd, "a layer of no container: "+s.Key)
		}
		delete(layers, s.Key)
	}
	for missing := range blobs {
		odd = append(odd, "a blob is missing: "+missing)
	}
	for missing := range layers {
		odd = append(odd, "a layer is missing: "+missing)
	}
	return odd
}

func (l *lab) blob(digest string) string {
	return filepath.Join(l.dir, "data/content/blobs/sha256", strings.TrimPrefix(digest, "sha256:"))
}

// oddContainers are those whose processes are not as their row says.
func (l *lab) oddContainers() (odd []string) {
	for _, c := range l.all() {
		row := c.get()
		state, err := l.cfg.Runtime.State(l.ctx(), c.id)
		running := err == nil && state.Status != runtime.Stopped
		switch {
		case running != active(row.State):
			odd = append(odd, fmt.Sprintf("container %s is %s, its process %v", row.Name, stateName(row.State), state.Status))
		case running && (row.State == api.ContainerState_PAUSED) != l.frozen(c.id):
			odd = append(odd, fmt.Sprintf("container %s is %s, its processes stand still: %v", row.Name, stateName(row.State), l.frozen(c.id)))
		}
		created := &api.Container{}
		if err := loadMessage(filepath.Join(c.dir, createdFile), created); err != nil || created.Name != row.Name || len(created.Networks) != len(row.Networks) {
			odd = append(odd, fmt.Sprintf("container %s has another name or other networks after a power cut: %v", row.Name, err))
		}
	}
	for _, dir := range l.cgroups() {
		if row, err := l.Inspect(l.ctx(), filepath.Base(dir)); err != nil || !active(row.State) {
			odd = append(odd, "left: "+dir)
		}
	}
	return odd
}

// frozen asks the kernel whether a container stands still, or is about to.
func (l *lab) frozen(id string) bool {
	for _, dir := range enginetest.Cgroups(filepath.Base(l.dir) + "/" + id) {
		old, _ := os.ReadFile(filepath.Join(dir, "freezer.state"))
		now, _ := os.ReadFile(filepath.Join(dir, "cgroup.freeze"))
		if strings.HasPrefix(string(old), "FR") || strings.HasPrefix(string(now), "1") {
			return true
		}
	}
	return false
}

// oddMounts are mounts of no running container and of no volume that one of them has.
func (l *lab) oddMounts() (odd []string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		point := strings.Fields(line)[4]
		if !strings.HasPrefix(point, l.dir) {
			continue
		}
		wanted := false
		for _, c := range l.all() {
			row := c.get()
			of := func(p *api.MountPoint) bool { return strings.HasPrefix(point, p.Source) && p.Type == "volume" }
			wanted = wanted || active(row.State) && (strings.Contains(point, row.Id) || slices.ContainsFunc(row.Mounts, of))
		}
		if !wanted {
			odd = append(odd, "left mounted: "+point)
		}
	}
	return odd
}

// oddLinks are interfaces of the host beyond those of running containers. Bridges may stay for a while.
func (l *lab) oddLinks() (odd []string) {
	want := 0
	for _, c := range l.all() {
		for _, ep := range c.get().Endpoints {
			if n, err := l.Networks().Get(ep.NetworkId); err == nil && n.Driver == network.Bridge {
				want++
			}
		}
	}
	if have := veths(l.t); len(have) != want {
		odd = append(odd, fmt.Sprintf("%d interfaces for %d endpoints: %v", len(have), want, have))
	}
	return odd
}
