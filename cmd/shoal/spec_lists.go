package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

// specLists are the repeated options that run and service create share. service update has
// each of them as NAME-add and NAME-rm, see service_update.go.
type specLists struct {
	capAdd, capDrop, dns, dnsOption, dnsSearch listOpt
	env, envFile, group, host, label           listOpt
	mounts                                     mountOpt
	sysctl                                     mapOpt
	ulimit                                     ulimitOpt
}

// listNames are the names that differ between run and services, and the suffix of service update.
type listNames struct{ host, group, label, labelHelp, labelShort, suffix string }

var (
	runNames     = listNames{host: "add-host", group: "group-add", label: "label", labelHelp: "Set meta data on a container", labelShort: "l"}
	serviceNames = listNames{host: "host", group: "group", label: "container-label", labelHelp: "Container labels"}
	updateNames  = listNames{host: "host", group: "group", label: "container-label", labelHelp: "Add or update a container label", suffix: "-add"}
)

func (l *specLists) add(f *pflag.FlagSet, n listNames) {
	l.capAdd.check, l.capDrop.check = checkCapability, checkCapability
	l.dns.check, l.host.check = checkIP, checkHost
	l.env.check, l.label.check = checkEnv, checkLabel
	short := func(s string) string {
		if n.suffix != "" {
			return ""
		}
		return s
	}
	f.Var(&l.capAdd, "cap-add", "Add Linux capabilities")
	f.Var(&l.capDrop, "cap-drop", "Drop Linux capabilities")
	f.Var(&l.dns, "dns"+n.suffix, "Set custom DNS servers")
	f.Var(&l.dnsOption, "dns-option"+n.suffix, "Set DNS options")
	f.Var(&l.dnsSearch, "dns-search"+n.suffix, "Set custom DNS search domains")
	f.VarP(&l.env, "env"+n.suffix, short("e"), "Set environment variables")
	f.Var(&l.group, n.group+n.suffix, "Add additional groups to join")
	f.Var(&l.host, n.host+n.suffix, "Set one or more custom host-to-IP mappings (host:ip)")
	f.VarP(&l.label, n.label+n.suffix, n.labelShort, n.labelHelp)
	f.Var(&l.mounts, "mount"+n.suffix, "Attach a filesystem mount (type=bind|volume|tmpfs,source=...,target=...)")
	f.Var(&l.sysctl, "sysctl"+n.suffix, "Sysctl options")
	f.Var(&l.ulimit, "ulimit"+n.suffix, "Ulimit options")
	if n.suffix == "" {
		f.Var(&l.envFile, "env-file", "Read in a file of environment variables")
	}
}

// fill writes the lists into a new spec.
func (l *specLists) fill(spec *api.ContainerSpec) error {
	env, err := readEnv(l.envFile.values, l.env.values)
	if err != nil {
		return err
	}
	spec.Env = env
	spec.CapAdd, spec.CapDrop = l.capAdd.values, l.capDrop.values
	spec.Groups, spec.Hosts = l.group.values, l.host.values
	spec.Labels = pairs(l.label.values)
	spec.Mounts = l.mounts.values
	spec.Sysctls = maps.Clone(l.sysctl.values)
	spec.Ulimits = l.ulimit.values
	if len(l.dns.values)+len(l.dnsOption.values)+len(l.dnsSearch.values) > 0 {
		spec.Dns = &api.DNSConfig{Nameservers: l.dns.values, Search: l.dnsSearch.values, Options: l.dnsOption.values}
	}
	return checkTargets(spec.Mounts)
}

// checkTargets refuses two mounts at one place.
func checkTargets(mounts []*api.Mount) error {
	var seen []string
	for _, m := range mounts {
		if slices.Contains(seen, m.Target) {
			return fmt.Errorf("duplicate mount point: %s", m.Target)
		}
		seen = append(seen, m.Target)
	}
	return nil
}
