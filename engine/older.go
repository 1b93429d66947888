//go:build linux

package engine

import (
	"path"
	"regexp"

	"github.com/shoal-dev/shoal/engine/volume"
	"github.com/shoal-dev/shoal/proto/api"
)

// complete gives a row that an older daemon has made what it lacks and the request holds. It is the newer one's from the next write
// on. Called while nobody else has the row.
func complete(row *api.Container, req *api.CreateContainerRequest, img *Image) {
	for _, p := range row.Mounts {
		if p.Mount == nil {
			p.Mount = mountOfOlder(row, p)
		}
		if p.Type == "volume" && p.Driver == "" {
			p.Driver = volume.DriverLocal
		}
	}
	row.PublishAll = req.GetPublishAll()
	if len(row.PortBindings) == 0 {
		row.PortBindings = req.GetPorts()
	}
	if len(row.ExposedPorts) == 0 && img != nil {
		row.ExposedPorts = exposedPorts(req, img.Config.ExposedPorts) // some may not have been refused when it was made
	}
}

// randomName is what volumes are called that nobody named.
var randomName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// mountOfOlder finds the mount that a mount point came from. What was inherited from another container is not in the row: a volume
// with a name is taken for one that somebody named, which is never removed unasked.
func mountOfOlder(row *api.Container, p *api.MountPoint) *api.Mount {
	for _, m := range row.Spec.GetMounts() {
		if path.Clean(m.Target) == p.Destination {
			return m
		}
	}
	m := &api.Mount{Target: p.Destination, ReadOnly: p.ReadOnly}
	switch p.Type {
	case "volume":
		m.Type = api.Mount_VOLUME
		if !randomName.MatchString(p.Name) {
			m.Source = p.Name
		}
	case "bind":
		m.Type, m.Source = api.Mount_BIND, p.Source
	case "tmpfs":
		m.Type = api.Mount_TMPFS
	}
	return m
}

// adoptVolumes has the store know that a container which runs uses its volumes: the daemon that started it may not have said so.
func (e *Engine) adoptVolumes(c *container) {
	for _, name := range volumesOf(c.get()) {
		if err := e.cfg.Volumes.Adopt(e.ctx, name, c.id); err != nil {
			e.log.Error("volume of a running container was not taken over", "container", c.id, "error", err)
		}
	}
}
