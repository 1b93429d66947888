package main

import (
	"path"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// addDetails adds to a container's object what its row does not hold.
func addDetails(o *containerView, d *api.ContainerDetails) {
	if d == nil {
		return // a daemon of an older version
	}
	o.HostsPath, o.HostnamePath, o.ResolvConfPath = path.Join(d.Directory, "hosts"), path.Join(d.Directory, "hostname"), path.Join(d.Directory, "resolv.conf")
	o.GraphDriver = driverView{Name: o.Driver, Data: map[string]string{
		"LowerDir": strings.Join(d.LowerDirs, ":"), "UpperDir": d.UpperDir, "WorkDir": d.WorkDir, "MergedDir": d.Root,
	}}
	o.HostConfig.VolumesFrom = d.VolumesFrom
	o.Config.Healthcheck = healthcheckOf(d.Healthcheck)
}

// givenEnv is the environment without what every container gets: who makes one anew from it would take the old one's hostname over.
func givenEnv(k *api.Container) []string {
	every := []string{"HOSTNAME=" + k.Hostname, "TERM=xterm"}
	return slices.DeleteFunc(slices.Clone(k.Env), func(e string) bool {
		return slices.Contains(every, e) && !slices.Contains(k.GetSpec().GetEnv(), e)
	})
}

// fixedAddresses are those asked for on a network; nil if none.
func fixedAddresses(k *api.Container, network string) *fixedView {
	for _, w := range k.Networks {
		if w.Network == network && (w.Ip != "" || w.Ip6 != "" || len(w.LinkLocalIps) > 0) {
			return &fixedView{IPv4Address: w.Ip, IPv6Address: w.Ip6, LinkLocalIPs: w.LinkLocalIps}
		}
	}
	return nil
}

// namesOn are the names by which others on a network find the container; on the default bridge there are none.
func namesOn(k *api.Container, e *api.NetworkEndpoint) []string {
	if e.Network == "bridge" || e.NetworkId == "" { // or it does not run
		return nil
	}
	names := append([]string{k.Name}, e.Aliases...)
	names = append(names, shortHex(k.Id))
	if k.Hostname != "" {
		names = append(names, k.Hostname)
	}
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
