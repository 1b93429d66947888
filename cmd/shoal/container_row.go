package main

import (
	"fmt"
	"strconv"
	"strings"

	units "github.com/docker/go-units"

	"github.com/shoal-dev/shoal/proto/api"
)

func containerRow(k *api.Container, noTrunc bool) row {
	id, command, image := k.Id, commandLine(k.Command), k.ImageName
	if !noTrunc {
		id, command = shortHex(id), ellipsis(command, 20)
	}
	var mounts []string
	volumes := 0
	for _, m := range k.Mounts {
		name := orElse(m.Name, m.Source)
		if !noTrunc {
			name = ellipsis(name, 15)
		}
		mounts = append(mounts, name)
		if m.Type == "volume" {
			volumes++
		}
	}
	return row{
		"ID": id, "Names": k.Name, "Image": orElse(image, shortHex(k.ImageId)), "Command": strconv.Quote(command),
		"CreatedAt": stamp(k.CreatedAt), "RunningFor": ago(k.CreatedAt), "Ports": containerPorts(k), "State": stateName(k.State),
		"Status": statusText(k), "Size": sizeText(k), "Labels": labelText(k.Spec.GetLabels()),
		"Mounts": strings.Join(mounts, ","), "LocalVolumes": strconv.Itoa(volumes), "Networks": strings.Join(networkNamesOf(k), ","),
		labelsKey: k.Spec.GetLabels(),
	}
}

// sizeText is what a container wrote, and all that it sees as its own.
func sizeText(k *api.Container) string {
	s := units.HumanSizeWithPrecision(float64(k.SizeRw), 3)
	if k.SizeRootFs > 0 {
		s += " (virtual " + units.HumanSizeWithPrecision(float64(k.SizeRootFs), 3) + ")"
	}
	return s
}

// statusText is "Up 5 minutes (healthy)", "Exited (0) 2 hours ago", ...
func statusText(k *api.Container) string {
	up := func() string { return "Up " + strings.TrimSuffix(ago(k.StartedAt), " ago") }
	switch k.State {
	case api.ContainerState_CONTAINER_RUNNING:
		if k.Health != "" && k.Health != "none" {
			health := k.Health
			if health == "starting" {
				health = "health: starting"
			}
			return up() + " (" + health + ")"
		}
		return up()
	case api.ContainerState_PAUSED:
		return up() + " (Paused)"
	case api.ContainerState_RESTARTING:
		return fmt.Sprintf("Restarting (%d) %s", k.ExitCode, ago(k.FinishedAt))
	case api.ContainerState_EXITED:
		return fmt.Sprintf("Exited (%d) %s", k.ExitCode, ago(k.FinishedAt))
	case api.ContainerState_DEAD:
		return "Dead"
	}
	return "Created"
}

// commandLine is a command as Docker shows it: arguments with blanks in quotes.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.Contains(a, " ") {
			quoted[i] = "'" + a + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func networkNamesOf(k *api.Container) []string {
	var out []string
	for _, e := range k.Endpoints {
		out = append(out, e.Network)
	}
	if len(out) == 0 {
		for _, n := range k.Networks {
			out = append(out, n.Network)
		}
	}
	if len(out) == 0 && hasNoNetwork(k.NetworkMode) {
		out = append(out, k.NetworkMode)
	}
	return out
}

// hasNoNetwork knows the modes that are shown in a network's place. Of others a container may have been disconnected.
func hasNoNetwork(mode string) bool {
	return mode == "host" || mode == "none" || mode == "external" || strings.HasPrefix(mode, "container:")
}
