package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// containerFilter checks the filters once and gives the test for one container.
func containerFilter(f *filters, all []*api.Container) (func(*api.Container) bool, error) {
	if err := checkContainerFilters(f); err != nil {
		return nil, err
	}
	isTask, wantTask, err := f.boolean("is-task")
	if err != nil {
		return nil, err
	}
	before, err := createdAt(f, "before", all)
	if err != nil {
		return nil, err
	}
	since, err := createdAt(f, "since", all)
	if err != nil {
		return nil, err
	}
	return func(k *api.Container) bool {
		created := k.CreatedAt.AsTime()
		return f.prefix("id", k.Id) && matchesName(f, k.Name) &&
			f.exact("status", stateName(k.State)) && f.exact("health", orElse(k.Health, "none")) &&
			f.labels("label", k.Spec.GetLabels()) && (!wantTask || isTask == (k.TaskId != "")) &&
			f.any("exited", func(w string) bool { return exitedWith(k, w) }) &&
			f.any("ancestor", func(w string) bool { return matchImage(k, w) }) &&
			f.any("network", func(w string) bool { return onNetwork(k, w) }) &&
			f.any("volume", func(w string) bool { return hasMount(k, w) }) &&
			f.any("expose", func(w string) bool { return exposes(k, w) }) &&
			f.any("publish", func(w string) bool { return publishes(k, w) }) &&
			f.any("before", func(w string) bool { return created.Before(before[w]) }) &&
			f.any("since", func(w string) bool { return created.After(since[w]) })
	}, nil
}

// checkContainerFilters refuses values that no container could match.
func checkContainerFilters(f *filters) error {
	if err := f.oneOf("status", "created", "restarting", "running", "removing", "paused", "exited", "dead"); err != nil {
		return err
	}
	if err := f.oneOf("health", "starting", "healthy", "unhealthy", "none"); err != nil {
		return err
	}
	for _, code := range f.values["exited"] {
		if _, err := strconv.Atoi(code); err != nil {
			return fmt.Errorf("filter exited=%s: use an exit code", code)
		}
	}
	for _, ports := range f.values["expose"] {
		if _, err := parseExpose(ports); err != nil {
			return fmt.Errorf("filter expose=%s: %w", ports, err)
		}
	}
	for _, ports := range f.values["publish"] {
		number, _, _ := strings.Cut(ports, "/")
		if _, _, err := portRange(number); err != nil {
			return fmt.Errorf("filter publish=%s: use PORT[-PORT][/PROTOCOL] of the host", ports)
		}
	}
	return nil
}

// createdAt finds when the containers were created that a filter names.
func createdAt(f *filters, key string, all []*api.Container) (map[string]time.Time, error) {
	times := map[string]time.Time{}
	for _, ref := range f.values[key] {
		i := slices.IndexFunc(all, func(k *api.Container) bool { return k.Name == ref || strings.HasPrefix(k.Id, ref) })
		if i < 0 {
			return nil, fmt.Errorf("filter %s=%s: no such container", key, ref)
		}
		times[ref] = all[i].CreatedAt.AsTime()
	}
	return times, nil
}

func exitedWith(k *api.Container, code string) bool {
	return k.State == api.ContainerState_EXITED && code == strconv.Itoa(int(k.ExitCode))
}

func hasMount(k *api.Container, ref string) bool {
	return slices.ContainsFunc(k.Mounts, func(m *api.MountPoint) bool { return m.Name == ref || m.Source == ref || m.Destination == ref })
}

// matchesName takes names with and without the slash before them that Docker's have.
func matchesName(f *filters, name string) bool {
	return len(f.values["name"]) == 0 || f.matches("name", name) || f.matches("name", "/"+name)
}

func matchImage(k *api.Container, ref string) bool {
	return k.ImageName == ref || k.ImageName == ref+":latest" || k.ImageName+":latest" == ref ||
		k.ImageId == ref || len(ref) >= 4 && strings.HasPrefix(shortHex(k.ImageId), ref)
}

func onNetwork(k *api.Container, ref string) bool {
	return slices.Contains(networkNamesOf(k), ref) ||
		slices.ContainsFunc(k.Endpoints, func(e *api.NetworkEndpoint) bool { return e.NetworkId == ref })
}

// exposes matches PORT[-PORT][/PROTOCOL] of the container.
func exposes(k *api.Container, ref string) bool {
	wanted, _ := parseExpose(ref)
	return slices.ContainsFunc(wanted, func(port string) bool { return slices.Contains(k.ExposedPorts, port) })
}

// publishes matches PORT[-PORT][/PROTOCOL] of the host.
func publishes(k *api.Container, ref string) bool {
	ports, protocol, hasProtocol := strings.Cut(ref, "/")
	lo, hi, err := portRange(ports)
	return err == nil && slices.ContainsFunc(k.Ports, func(p *api.PortBinding) bool {
		return lo <= p.HostPort && p.HostPort <= hi && (!hasProtocol || p.Protocol == protocol)
	})
}
