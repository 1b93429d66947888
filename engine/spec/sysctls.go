package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sysctls adds two that Docker sets in every network namespace of a container's own: unprivileged ports and ping.
func sysctls(o Options) (map[string]string, error) {
	out := map[string]string{}
	ownNet := o.Namespaces.Net != "host" && !o.JoinedNet
	if ownNet {
		out["net.ipv4.ip_unprivileged_port_start"] = "0"
		out["net.ipv4.ping_group_range"] = "0 2147483647"
		if n := o.Namespaces.Users; n > 0 {
			out["net.ipv4.ping_group_range"] = fmt.Sprintf("0 %d", n-1)
		}
	}
	for key, value := range o.Spec.GetSysctls() {
		switch {
		case strings.HasPrefix(key, "net."):
			if !ownNet {
				return nil, fmt.Errorf("sysctl %s needs a network namespace of the container's own", key)
			}
		case isIPCSysctl(key):
			if o.Namespaces.IPC != "" {
				return nil, fmt.Errorf("sysctl %s needs an IPC namespace of the container's own", key)
			}
		case key == "kernel.domainname":
			if o.Namespaces.UTS != "" {
				return nil, fmt.Errorf("sysctl %s needs a UTS namespace of the container's own", key)
			}
		default:
			return nil, fmt.Errorf("sysctl %s is not separate for each container", key)
		}
		out[key] = value
	}
	if len(out) == 0 {
		return nil, nil
	}
	return maps.Clone(out), nil
}

func isIPCSysctl(key string) bool {
	return strings.HasPrefix(key, "fs.mqueue.") || slices.Contains([]string{
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
		"kernel.shmmni", "kernel.shm_rmid_forced",
	}, key)
}
