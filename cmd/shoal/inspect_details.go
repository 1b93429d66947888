package main

import (
	"path"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// addDetails adds to a container's object what its row does not hold.
func addDetails(o map[string]any, d *api.ContainerDetails) {
	if d == nil {
		return // a daemon of an older version
	}
	for field, file := range map[string]string{"HostsPath": "hosts", "HostnamePath": "hostname", "ResolvConfPath": "resolv.conf"} {
		o[field] = path.Join(d.Directory, file)
	}
	o["GraphDriver"] = map[string]any{"Name": o["Driver"], "Data": map[string]any{
		"LowerDir": strings.Join(d.LowerDirs, ":"), "UpperDir": d.UpperDir, "WorkDir": d.WorkDir, "MergedDir": d.Root,
	}}
	o["HostConfig"].(map[string]any)["VolumesFrom"] = d.VolumesFrom
	if h := d.Healthcheck; h != nil {
		o["Config"].(map[string]any)["Healthcheck"] = healthObject(h)
	}
}

// healthObject has times in nanoseconds and leaves out what is the default, as Docker's.
func healthObject(h *api.HealthConfig) map[string]any {
	o := map[string]any{"Test": h.Test}
	for name, n := range map[string]int64{
		"Interval": int64(h.Interval.AsDuration()), "Timeout": int64(h.Timeout.AsDuration()), "StartPeriod": int64(h.StartPeriod.AsDuration()),
		"StartInterval": int64(h.StartInterval.AsDuration()), "Retries": int64(h.Retries),
	} {
		if n != 0 {
			o[name] = n
		}
	}
	return o
}

// givenEnv is the environment without what every container gets: who makes one anew from it would take the old one's hostname over.
func givenEnv(k *api.Container) []string {
	every := []string{"HOSTNAME=" + k.Hostname, "TERM=xterm"}
	return slices.DeleteFunc(slices.Clone(k.Env), func(e string) bool {
		return slices.Contains(every, e) && !slices.Contains(k.GetSpec().GetEnv(), e)
	})
}

// fixedAddresses are those asked for on a network; nil if none.
func fixedAddresses(k *api.Container, network string) any {
	for _, w := range k.Networks {
		if w.Network == network && (w.Ip != "" || w.Ip6 != "" || len(w.LinkLocalIps) > 0) {
			return map[string]any{"IPv4Address": w.Ip, "IPv6Address": w.Ip6, "LinkLocalIPs": orNone(w.LinkLocalIps)}
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
