package main

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

// serviceUpdateFlags are the options of service update: single values, and lists to add to and take from.
type serviceUpdateFlags struct {
	serviceFlags
	lists         specLists
	image         string
	args          commandOpt
	force, goBack bool

	labelAdd, constraintAdd, prefAdd listOpt
	publishAdd                       servicePortOpt
	networkAdd                       networkOpt
	networkRm, publishRm, mountRm    listOpt
	envRm, labelRm, containerLabelRm listOpt
	constraintRm, prefRm, hostRm     listOpt
	dnsRm, dnsOptionRm, dnsSearchRm  listOpt
	groupRm, sysctlRm, ulimitRm      listOpt
}

func (o *serviceUpdateFlags) add(f *pflag.FlagSet) {
	o.serviceFlags.add(f)
	o.lists.add(f, updateNames)
	o.labelAdd.check, o.constraintAdd.check = checkLabel, checkConstraint
	o.prefAdd.check, o.prefRm.check = checkPreference, checkPreference
	o.prefAdd.kind, o.prefRm.kind = "pref", "pref"
	o.hostRm.check, o.publishRm.kind = checkHost, "port"
	o.networkAdd.fields = []string{"name", "alias"}
	f.StringVar(&o.image, "image", "", "Service image tag")
	f.Var(&o.args, "args", "Service command args")
	f.BoolVar(&o.force, "force", false, "Force update even if no changes require it")
	f.BoolVar(&o.goBack, "rollback", false, "Rollback to previous specification")
	for _, l := range []struct {
		flag pflag.Value
		name string
		help string
	}{
		{&o.labelAdd, "label-add", "Add or update a service label"},
		{&o.labelRm, "label-rm", "Remove a label by its key"},
		{&o.containerLabelRm, "container-label-rm", "Remove a container label by its key"},
		{&o.envRm, "env-rm", "Remove an environment variable"},
		{&o.constraintAdd, "constraint-add", "Add or update a placement constraint"},
		{&o.constraintRm, "constraint-rm", "Remove a constraint"},
		{&o.prefAdd, "placement-pref-add", "Add a placement preference"},
		{&o.prefRm, "placement-pref-rm", "Remove a placement preference"},
		{&o.publishAdd, "publish-add", "Add or update a published port"},
		{&o.publishRm, "publish-rm", "Remove a published port by its target port"},
		{&o.networkAdd, "network-add", "Add a network"},
		{&o.networkRm, "network-rm", "Remove a network"},
		{&o.mountRm, "mount-rm", "Remove a mount by its target path"},
		{&o.hostRm, "host-rm", `Remove a custom host-to-IP mapping ("host:ip")`},
		{&o.dnsRm, "dns-rm", "Remove a custom DNS server"},
		{&o.dnsOptionRm, "dns-option-rm", "Remove a DNS option"},
		{&o.dnsSearchRm, "dns-search-rm", "Remove a DNS search domain"},
		{&o.groupRm, "group-rm", "Remove a previously added supplementary user group from the container"},
		{&o.sysctlRm, "sysctl-rm", "Remove a Sysctl option"},
		{&o.ulimitRm, "ulimit-rm", "Remove a ulimit option"},
	} {
		f.Var(l.flag, l.name, l.help)
	}
}

// change applies the options to a spec. networks are the names of networks by ID.
func (o *serviceUpdateFlags) change(f *pflag.FlagSet, spec *api.ServiceSpec, networks map[string]string) error {
	c := spec.Container
	given(f, "image", &c.Image, o.image)
	if o.args.set {
		c.Args = o.args.words
	}
	if o.force {
		spec.ForceUpdate++
	}
	o.changeContainer(c)
	if err := o.changePublish(spec); err != nil {
		return err
	}
	o.changePlacement(spec)
	o.changeNetworks(spec, networks)
	spec.Labels = editMap(spec.Labels, o.labelRm.values, pairs(o.labelAdd.values))
	if err := checkTargets(c.Mounts); err != nil {
		return err
	}
	return o.serviceFlags.apply(f, spec)
}

func (o *serviceUpdateFlags) changeContainer(c *api.ContainerSpec) {
	a := &o.lists
	c.Env = editList(c.Env, o.envRm.values, resolveEnv(a.env.values), beforeEqual)
	c.Labels = editMap(c.Labels, o.containerLabelRm.values, pairs(a.label.values))
	c.Groups = editList(c.Groups, o.groupRm.values, a.group.values, whole)
	c.Hosts = editList(c.Hosts, o.hostRm.values, a.host.values, whole)
	c.Mounts = editList(c.Mounts, o.mountRm.values, a.mounts.values, (*api.Mount).GetTarget)
	c.Sysctls = editMap(c.Sysctls, o.sysctlRm.values, a.sysctl.values)
	c.Ulimits = editList(c.Ulimits, o.ulimitRm.values, a.ulimit.values, (*api.Ulimit).GetName)
	c.CapAdd, c.CapDrop = editCaps(c.CapAdd, c.CapDrop, a.capAdd.values, a.capDrop.values)
	dns := c.Dns
	if dns == nil {
		dns = &api.DNSConfig{}
	}
	dns.Nameservers = editList(dns.Nameservers, o.dnsRm.values, a.dns.values, whole)
	dns.Options = editList(dns.Options, o.dnsOptionRm.values, a.dnsOption.values, whole)
	dns.Search = editList(dns.Search, o.dnsSearchRm.values, a.dnsSearch.values, whole)
	if len(dns.Nameservers)+len(dns.Options)+len(dns.Search) > 0 {
		c.Dns = dns
	} else {
		c.Dns = nil
	}
}

// changePublish removes by target port, optionally with a protocol, and replaces a port of the same target.
func (o *serviceUpdateFlags) changePublish(spec *api.ServiceSpec) error {
	for _, rm := range o.publishRm.values {
		gone, err := parseServicePort(rm)
		if err != nil {
			return fmt.Errorf("invalid value %q for --publish-rm: %w", rm, err)
		}
		endpoint(spec).Ports = slices.DeleteFunc(endpoint(spec).Ports, func(p *api.PortConfig) bool {
			return slices.ContainsFunc(gone, func(g *api.PortConfig) bool { return samePort(p, g) })
		})
	}
	for _, add := range o.publishAdd.values {
		ports := slices.DeleteFunc(endpoint(spec).Ports, func(p *api.PortConfig) bool {
			return samePort(p, add) && (p.PublishedPort == add.PublishedPort || p.PublishedPort == 0)
		})
		endpoint(spec).Ports = append(ports, add)
	}
	return nil
}

func samePort(a, b *api.PortConfig) bool {
	return a.TargetPort == b.TargetPort && protocolOf(a) == protocolOf(b)
}

func (o *serviceUpdateFlags) changePlacement(spec *api.ServiceSpec) {
	if len(o.constraintAdd.values)+len(o.constraintRm.values) > 0 {
		p := placement(spec)
		var rm []string
		for _, r := range o.constraintRm.values {
			rm = append(rm, noSpaces(r))
		}
		p.Constraints = editList(p.Constraints, rm, o.constraintAdd.values, noSpaces)
	}
	if len(o.prefAdd.values)+len(o.prefRm.values) > 0 {
		p := placement(spec)
		var add []*api.PlacementPreference
		for _, s := range o.prefAdd.values {
			add = append(add, &api.PlacementPreference{Spread: s})
		}
		p.Preferences = editList(p.Preferences, o.prefRm.values, add, (*api.PlacementPreference).GetSpread)
	}
}

// changeNetworks knows a network by its name and by its ID: the spec holds one, people write the other.
func (o *serviceUpdateFlags) changeNetworks(spec *api.ServiceSpec, names map[string]string) {
	name := func(ref string) string {
		if n, ok := names[ref]; ok {
			return n
		}
		return ref
	}
	var rm []string
	for _, r := range o.networkRm.values {
		rm = append(rm, name(r))
	}
	var add []*api.NetworkAttachmentSpec
	for _, a := range o.networkAdd.values {
		add = append(add, &api.NetworkAttachmentSpec{Network: a.Network, Aliases: a.Aliases})
	}
	spec.Networks = editList(spec.Networks, rm, add, func(a *api.NetworkAttachmentSpec) string { return name(a.Network) })
}
