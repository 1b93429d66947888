package main

import (
	"fmt"
	"net/netip"

	"github.com/shoal-dev/shoal/proto/api"
)

// ipamConfigs are a network's subnets, and what is said of each: it is found by an address within.
type ipamConfigs []*ipamConfig

type ipamConfig struct {
	subnet netip.Prefix
	*api.IPAMConfig
}

// ipam puts gateways, ranges and taken addresses to the subnets that hold them.
func (o *networkCreateFlags) ipam() ([]*api.IPAMConfig, error) {
	var configs ipamConfigs
	for _, s := range o.subnets {
		if err := configs.addSubnet(s); err != nil {
			return nil, err
		}
	}
	for _, g := range o.gateways {
		if err := configs.setGateway(g); err != nil {
			return nil, err
		}
	}
	for _, r := range o.ipRange {
		if err := configs.setRange(r); err != nil {
			return nil, err
		}
	}
	for name, addr := range o.aux.values {
		if err := configs.addAux(name, addr); err != nil {
			return nil, err
		}
	}
	return configs.messages(), nil
}

func (cs *ipamConfigs) addSubnet(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("invalid subnet '%s': write it like 10.1.0.0/24", s)
	}
	if p != p.Masked() {
		return fmt.Errorf("invalid subnet '%s': it should be %s", s, p.Masked())
	}
	*cs = append(*cs, &ipamConfig{p, &api.IPAMConfig{Subnet: p.String()}})
	return nil
}

func (cs ipamConfigs) setGateway(s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("invalid gateway '%s': not an IP address", s)
	}
	c := cs.holding(a)
	if c == nil || c.Gateway != "" {
		return fmt.Errorf("no matching subnet for gateway %s", s)
	}
	c.Gateway = a.String()
	return nil
}

func (cs ipamConfigs) setRange(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("invalid ip-range '%s': write it like 10.1.0.128/25", s)
	}
	c := cs.holding(p.Addr())
	if c == nil || c.IpRange != "" {
		return fmt.Errorf("no matching subnet for range %s", s)
	}
	c.IpRange = p.String()
	return nil
}

func (cs ipamConfigs) addAux(name, s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return fmt.Errorf("invalid aux-address '%s=%s': not an IP address", name, s)
	}
	c := cs.holding(a)
	if c == nil {
		return fmt.Errorf("no matching subnet for aux-address %s", s)
	}
	if c.AuxAddresses == nil {
		c.AuxAddresses = map[string]string{}
	}
	c.AuxAddresses[name] = a.String()
	return nil
}

// holding is the first subnet that an address is in; nil if there is none.
func (cs ipamConfigs) holding(a netip.Addr) *ipamConfig {
	for _, c := range cs {
		if c.subnet.Contains(a) {
			return c
		}
	}
	return nil
}

func (cs ipamConfigs) messages() []*api.IPAMConfig {
	var out []*api.IPAMConfig
	for _, c := range cs {
		out = append(out, c.IPAMConfig)
	}
	return out
}
