//go:build linux

package engine

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// Rename gives a container another name, whatever it does at the moment.
func (e *Engine) Rename(ctx context.Context, ref, name string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	name = strings.TrimPrefix(name, "/")
	if err := checkName(name); err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	old, err := e.takeName(c, name)
	if err != nil {
		return err
	}
	if err := e.amend(c, func(row *api.Container) { row.Name = name }); err != nil {
		e.dropName(c, name)
		return err
	}
	e.dropName(c, old)
	e.emit(c, "rename", map[string]string{"oldName": old})
	if err := e.reconcileNetworks(ctx); err != nil { // names on its networks follow, soon if not now
		e.log.Error("networks are not as they should be", "error", err)
	}
	return nil
}

func checkName(name string) error {
	if len(name) < 2 || !names.Object(name) {
		return errorf(ErrInvalid, "container name %q: use letters, digits, '_', '.' and '-', at least two, the first a letter or digit", name)
	}
	return nil
}

// takeName reserves a second name for a container and returns the first.
func (e *Engine) takeName(c *container, name string) (old string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old = c.get().Name
	switch owner, taken := e.names[name]; {
	case e.containers[c.id] != c:
		return "", errorf(ErrNotFound, "no such container: %s", old)
	case owner == c.id:
		return "", errorf(ErrInvalid, "container %s has the name %q already", c.id[:12], name)
	case taken:
		return "", errorf(ErrExists, "the container name %q is in use by container %.12s: remove or rename that one, or choose another name", name, owner)
	}
	e.names[name] = c.id
	return old, nil
}

func (e *Engine) dropName(c *container, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.names[name] == c.id {
		delete(e.names, name)
	}
}

// amend changes what a container is, not only how it is: also in the row that is left after a power cut.
func (e *Engine) amend(c *container, change func(*api.Container)) error {
	path := filepath.Join(c.dir, createdFile)
	created := &api.Container{}
	if err := loadMessage(path, created); err != nil {
		return err
	}
	change(created)
	if err := saveMessage(path, created, true); err != nil {
		return err
	}
	e.cfg.FaultPoint("amend.created")
	err := c.update(change)
	e.cfg.FaultPoint("amend.row")
	return err
}
