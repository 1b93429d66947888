package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

func (o *containerFlags) fillNetwork(f *pflag.FlagSet, r *api.CreateContainerRequest) error {
	if err := o.fillPorts(r); err != nil {
		return err
	}
	for _, n := range o.network.values {
		if isNetworkMode(n.Network) {
			r.NetworkMode = n.Network
		} else {
			r.Networks = append(r.Networks, n)
		}
	}
	if r.NetworkMode != "" && len(o.network.values) > 1 {
		return fmt.Errorf("network %s cannot be combined with others", r.NetworkMode)
	}
	if !anyChanged(f, "ip", "ip6", "mac-address", "network-alias", "link-local-ip", "link") {
		return nil
	}
	if len(r.Networks) == 0 {
		if r.NetworkMode != "" {
			return fmt.Errorf("--ip, --ip6, --mac-address, --link, --link-local-ip and --network-alias need a network: %s has no addresses of its own", r.NetworkMode)
		}
		r.Networks = []*api.LocalNetworkAttachment{{Network: "bridge"}}
	}
	return o.fillAttachment(f, r.Networks[0])
}

// fillPorts takes up what is published and exposed.
func (o *containerFlags) fillPorts(r *api.CreateContainerRequest) error {
	for _, p := range o.publish.values {
		ports, err := o.port(p)
		if err != nil {
			return fmt.Errorf("invalid port '%s': %w", p, err)
		}
		r.Ports = append(r.Ports, ports...)
	}
	for _, e := range o.expose.values {
		ports, _ := parseExpose(e)
		r.Spec.ExposedPorts = append(r.Spec.ExposedPorts, ports...)
	}
	return nil
}

// fillAttachment gives the first network what options without a network's name say.
func (o *containerFlags) fillAttachment(f *pflag.FlagSet, first *api.LocalNetworkAttachment) error {
	given(f, "mac-address", &first.Mac, o.mac)
	first.Aliases = append(first.Aliases, o.networkAlias.values...)
	first.Links = append(first.Links, o.link.values...)
	first.LinkLocalIps = append(first.LinkLocalIps, o.linkLocal.values...)
	return setNetworkIPs(first, o.ip, o.ip6)
}

// port reads run's --publish in the short or the long form.
func (o *containerFlags) port(s string) ([]*api.PortBinding, error) {
	if !strings.Contains(s, "=") {
		return parsePort(s)
	}
	p, err := parseLongPort(s)
	if err != nil {
		return nil, err
	}
	return []*api.PortBinding{{Protocol: p.Protocol, ContainerPort: p.TargetPort, HostPort: p.PublishedPort}}, nil
}

func isNetworkMode(name string) bool {
	return slices.Contains([]string{"host", "none"}, name) || strings.HasPrefix(name, "container:")
}

func (o *containerFlags) addNetwork(f *pflag.FlagSet) {
	f.Var(&o.network, "network", "Connect a container to a network")
	f.Var(&o.networkAlias, "network-alias", "Add network-scoped alias for the container")
	f.StringVar(&o.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.Var(&o.link, "link", "Add link to another container")
	f.Var(&o.linkLocal, "link-local-ip", "Container IPv4/IPv6 link-local addresses")
	f.StringVar(&o.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.VarP(&o.publish, "publish", "p", "Publish a container's port(s) to the host")
	f.Var(&o.expose, "expose", "Expose a port or a range of ports")
	f.BoolVarP(&o.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
}
