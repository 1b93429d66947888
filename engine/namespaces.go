//go:build linux

package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// namespaceModes are the namespaces as far as they are known before the start.
func (e *Engine) namespaceModes(row *api.Container) spec.Namespaces {
	n := modes(row.Spec, row.NetworkMode, e.netnsPath(row.Id))
	if row.UsernsSize > 0 {
		n.User, n.Users = e.usernsPath(row.Id), row.UsernsSize
	}
	return n
}

// namespaces resolves those that are another container's.
func (e *Engine) namespaces(row *api.Container) (spec.Namespaces, error) {
	n := e.namespaceModes(row)
	join := func(mode, kind string, into *string) error {
		if !joinsContainer(mode) {
			return nil
		}
		other, err := e.running(strings.TrimPrefix(mode, "container:"))
		if err != nil {
			return err
		}
		*into = fmt.Sprintf("/proc/%d/ns/%s", other.Pid, kind)
		if kind == "net" && other.Netns != "" { // stays what it is when the process ends and its number is given to one of the host
			*into = other.Netns
		}
		return nil
	}
	return n, errors.Join(
		join(row.NetworkMode, "net", &n.Net), join(row.Spec.PidMode, "pid", &n.Pid), join(row.Spec.IpcMode, "ipc", &n.IPC),
	)
}

// running is a container whose namespaces are to be joined.
func (e *Engine) running(ref string) (*api.Container, error) {
	other, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	row := other.get()
	if !active(row.State) {
		return nil, errorf(ErrPrecondition, "container %s, whose namespaces are to be joined, is not running: start it first", row.Name)
	}
	return row, nil
}

// shmSource is the shared /dev/shm of a container that lets others join, or of the one that is joined.
func (e *Engine) shmSource(row *api.Container) (string, error) {
	switch mode := row.Spec.IpcMode; {
	case mode == "shareable":
		return e.shmDir(row.Id), nil
	case mode == "host":
		return "/dev/shm", nil
	case joinsContainer(mode):
		other, err := e.find(strings.TrimPrefix(mode, "container:"))
		if err != nil {
			return "", err
		}
		if other.get().Spec.IpcMode != "shareable" {
			return "", errorf(ErrPrecondition, "container %s does not share its IPC namespace: create it with --ipc shareable", other.get().Name)
		}
		return e.shmDir(other.id), nil
	default:
		return "", nil
	}
}

// modes are the namespaces of settings. netns is where a network namespace is that is not the host's.
func modes(s *api.ContainerSpec, networkMode, netns string) spec.Namespaces {
	shared := func(mode string) string {
		if mode == "host" {
			return "host"
		}
		return ""
	}
	n := spec.Namespaces{
		Net: "host", Pid: shared(s.PidMode), IPC: shared(s.IpcMode), UTS: shared(s.UtsMode), Cgroup: shared(s.CgroupnsMode),
	}
	if networkMode != NetworkHost {
		n.Net = netns
	}
	return n
}
