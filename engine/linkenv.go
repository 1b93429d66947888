//go:build linux

package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/spec"
	"github.com/shoal-dev/shoal/proto/api"
)

// linkEnv are the variables that describe linked containers, as Docker sets them up to version 29: where they are, on which
// ports they answer, what they were told. Those of the container itself go before them.
func (e *Engine) linkEnv(row *api.Container) []string {
	var env []string
	for _, l := range e.legacyLinks(row) {
		if to, err := e.linkedTo(l); err == nil {
			env = append(env, to.env(row.Name)...)
		}
	}
	return env
}

func (to linked) env(parent string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(to.alias, "-", "_"))
	env := []string{prefix + "_NAME=/" + parent + "/" + to.alias}
	ports := network.ParseExposed(to.row.ExposedPorts)
	slices.SortStableFunc(ports, func(a, b *api.PortBinding) int { // of one number tcp before others
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(notTCP(a), notTCP(b)))
	})
	if len(ports) > 0 {
		env = append(env, prefix+"_PORT="+to.url(ports[0].Protocol, ports[0].ContainerPort))
	}
	for i, p := range ports {
		name := fmt.Sprintf("%s_PORT_%d_%s", prefix, p.ContainerPort, strings.ToUpper(p.Protocol))
		port := strconv.Itoa(int(p.ContainerPort))
		if end := lastOfRun(ports, i); end != p.ContainerPort {
			last := strconv.Itoa(int(end))
			env = append(env, name+"_START="+to.url(p.Protocol, p.ContainerPort), name+"_END="+to.url(p.Protocol, end),
				name+"_PORT_START="+port, name+"_PORT_END="+last)
		}
		env = append(env, name+"="+to.url(p.Protocol, p.ContainerPort), name+"_ADDR="+to.addrs[0].String(), name+"_PORT="+port, name+"_PROTO="+p.Protocol)
	}
	for _, e := range spec.MergeEnv(to.container.img.Config.Env, to.row.Spec.GetEnv()) {
		if key, _, _ := strings.Cut(e, "="); key != "HOME" && key != "PATH" {
			env = append(env, prefix+"_ENV_"+e)
		}
	}
	return env
}

func (to linked) url(protocol string, port uint32) string {
	return protocol + "://" + netip.AddrPortFrom(to.addrs[0], uint16(port)).String()
}

func notTCP(p *api.PortBinding) int {
	if p.Protocol == "tcp" {
		return 0
	}
	return 1
}

// lastOfRun is the last of the consecutive ports that begin at ports[i]; within a run that began before, the port itself.
func lastOfRun(ports []*api.PortBinding, i int) uint32 {
	follows := func(j int) bool {
		return j > 0 && j < len(ports) && ports[j].Protocol == ports[j-1].Protocol && ports[j].ContainerPort == ports[j-1].ContainerPort+1
	}
	last := ports[i].ContainerPort
	if follows(i) {
		return last
	}
	for j := i + 1; follows(j); j++ {
		last = ports[j].ContainerPort
	}
	return last
}
