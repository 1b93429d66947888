package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// servicePortOpt is a service's --publish, in the short or the long form.
type servicePortOpt struct{ values []*api.PortConfig }

func (p *servicePortOpt) String() string { return "" }
func (p *servicePortOpt) Type() string   { return "port" }

func (p *servicePortOpt) Set(s string) error {
	ports, err := parseServicePort(s)
	if err != nil {
		return err
	}
	p.values = append(p.values, ports...)
	return nil
}

func parseServicePort(s string) ([]*api.PortConfig, error) {
	if strings.Contains(s, "=") {
		p, err := parseLongPort(s)
		if err != nil {
			return nil, err
		}
		return []*api.PortConfig{p}, nil
	}
	bindings, err := parsePort(s)
	if err != nil {
		return nil, err
	}
	var ports []*api.PortConfig
	for _, b := range bindings {
		if b.HostPortEnd != 0 {
			return nil, fmt.Errorf("a service's port is the same on every node: give one port and not the range %d-%d", b.HostPort, b.HostPortEnd)
		}
		if b.HostIp != "" {
			return nil, fmt.Errorf("a service's port is published on every node: leave out the address %s", b.HostIp)
		}
		ports = append(ports, &api.PortConfig{Protocol: b.Protocol, TargetPort: b.ContainerPort, PublishedPort: b.HostPort})
	}
	return ports, nil
}

// parseLongPort reads published=8080,target=80,protocol=tcp,mode=ingress.
func parseLongPort(s string) (*api.PortConfig, error) {
	fields, err := csvFields(s)
	if err != nil {
		return nil, err
	}
	p := &api.PortConfig{Protocol: "tcp"}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		if err := setPortField(p, strings.ToLower(key), value); err != nil {
			return nil, err
		}
	}
	if p.TargetPort == 0 {
		return nil, fmt.Errorf("missing target= (the port in the container)")
	}
	return p, nil
}

func setPortField(p *api.PortConfig, key, value string) (err error) {
	switch key {
	case "target":
		p.TargetPort, err = onePort(value)
	case "published":
		p.PublishedPort, err = onePort(value)
	case "protocol":
		p.Protocol, err = portProtocol(value)
	case "mode":
		switch strings.ToLower(value) {
		case "ingress":
			p.Mode = api.PublishMode_INGRESS
		case "host":
			p.Mode = api.PublishMode_HOST
		default:
			return fmt.Errorf("unknown publish mode '%s': use ingress or host", value)
		}
	case "name":
		p.Name = value
	default:
		return fmt.Errorf("unknown field '%s': use target, published, protocol, mode, name", key)
	}
	return err
}

// parsePort reads [[IP:]HOSTPORT:]PORT[/PROTOCOL], where ports may be ranges.
func parsePort(s string) ([]*api.PortBinding, error) {
	spec, protocol, hasProtocol := strings.Cut(s, "/")
	if !hasProtocol {
		protocol = "tcp"
	}
	protocol, err := portProtocol(protocol)
	if err != nil {
		return nil, err
	}
	ip, host, container, err := splitPort(spec)
	if err != nil {
		return nil, err
	}
	lo, hi, err := portRange(container)
	if err != nil {
		return nil, fmt.Errorf("invalid container port: %w", err)
	}
	hostLo, hostHi := uint32(0), uint32(0)
	if host == "0" { // any that is free
		host = ""
	}
	if host != "" {
		if hostLo, hostHi, err = portRange(host); err != nil {
			return nil, fmt.Errorf("invalid host port: %w", err)
		}
		if lo == hi && hostHi > hostLo {
			return []*api.PortBinding{{Protocol: protocol, ContainerPort: lo, HostIp: ip, HostPort: hostLo, HostPortEnd: hostHi}}, nil
		}
		if hostHi-hostLo != hi-lo {
			return nil, fmt.Errorf("the ranges %s and %s have different lengths", host, container)
		}
	}
	var out []*api.PortBinding
	for n := range hi - lo + 1 {
		b := &api.PortBinding{Protocol: protocol, ContainerPort: lo + n, HostIp: ip}
		if host != "" {
			b.HostPort = hostLo + n
		}
		out = append(out, b)
	}
	return out, nil
}

// splitPort takes the address off the front; an IPv6 address stands in brackets.
func splitPort(s string) (ip, host, container string, err error) {
	rest := s
	if strings.HasPrefix(s, "[") {
		end := strings.Index(s, "]:")
		if end < 0 {
			return "", "", "", fmt.Errorf("expected [IPv6]:HOSTPORT:PORT")
		}
		ip, rest = s[1:end], s[end+2:]
	} else if parts := strings.Split(s, ":"); len(parts) == 3 {
		ip, rest = parts[0], parts[1]+":"+parts[2]
	} else if len(parts) > 3 {
		return "", "", "", fmt.Errorf("expected [[IP:]HOSTPORT:]PORT[/PROTOCOL], an IPv6 address in brackets")
	}
	if ip != "" {
		if _, e := netip.ParseAddr(ip); e != nil {
			return "", "", "", fmt.Errorf("invalid IP address: %s", ip)
		}
	}
	host, container, found := strings.Cut(rest, ":")
	if !found {
		return ip, "", host, nil
	}
	return ip, host, container, nil
}

func portRange(s string) (lo, hi uint32, err error) {
	a, b, isRange := strings.Cut(s, "-")
	if lo, err = onePort(a); err != nil {
		return 0, 0, err
	}
	if !isRange {
		return lo, lo, nil
	}
	if hi, err = onePort(b); err != nil {
		return 0, 0, err
	}
	if hi < lo {
		return 0, 0, fmt.Errorf("the range %s ends before it begins", s)
	}
	return lo, hi, nil
}

func onePort(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("'%s' is not a port from 1 to 65535", s)
	}
	return uint32(n), nil
}

func portProtocol(s string) (string, error) {
	switch s = strings.ToLower(s); s {
	case "tcp", "udp", "sctp":
		return s, nil
	}
	return "", fmt.Errorf("unknown protocol '%s': use tcp, udp or sctp", s)
}
