package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// parseExpose reads run's --expose, PORT[-PORT][/PROTOCOL], as "80/tcp" for each port.
func parseExpose(s string) ([]string, error) {
	ports, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	protocol, err := portProtocol(protocol)
	if err != nil {
		return nil, err
	}
	lo, hi, err := portRange(ports)
	if err != nil {
		return nil, err
	}
	var out []string
	for port := lo; port <= hi; port++ {
		out = append(out, fmt.Sprintf("%d/%s", port, protocol))
	}
	return out, nil
}

// shownPort is one line of what a container's ports are: an address of the host that leads to a port, or none.
type shownPort struct {
	host            string // in brackets if IPv6
	public, private uint32
	protocol        string
}

// containerPorts is ps's column: exposed ports first, consecutive ones as a range, then "0.0.0.0:8080->80/tcp". Only a container
// that runs has any.
func containerPorts(k *api.Container) string {
	if !isUp(k) {
		return ""
	}
	var ranges, mapped []string
	last := map[string]*portRun{}
	var order []string
	for _, p := range shownPorts(k) {
		if p.host != "" && p.public != p.private {
			mapped = append(mapped, fmt.Sprintf("%s:%d->%d/%s", p.host, p.public, p.private, p.protocol))
			continue
		}
		key := p.host + "/" + p.protocol
		run := last[key]
		if run == nil {
			order = append(order, key)
		} else if run.to+1 == p.private {
			run.to = p.private
			continue
		} else {
			ranges = append(ranges, run.text())
		}
		last[key] = &portRun{host: p.host, protocol: p.protocol, from: p.private, to: p.private}
	}
	for _, key := range order {
		ranges = append(ranges, last[key].text())
	}
	return strings.Join(append(ranges, mapped...), ", ")
}

// portRun are consecutive ports, of the container alone or the same on the host.
type portRun struct {
	host, protocol string
	from, to       uint32
}

func (r *portRun) text() string {
	ports := strconv.Itoa(int(r.from))
	if r.to != r.from {
		ports += "-" + strconv.Itoa(int(r.to))
	}
	if r.host != "" {
		ports = r.host + ":" + ports + "->" + ports
	}
	return ports + "/" + r.protocol
}

// shownPorts are published and exposed ports, by the container's port.
func shownPorts(k *api.Container) []shownPort {
	var out []shownPort
	published := map[string]bool{}
	for _, p := range k.Ports {
		protocol := orElse(p.Protocol, "tcp")
		published[fmt.Sprintf("%d/%s", p.ContainerPort, protocol)] = true
		for _, host := range hostAddresses(p) {
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			out = append(out, shownPort{host: host, public: p.HostPort, private: p.ContainerPort, protocol: protocol})
		}
	}
	for _, text := range exposedOf(k) {
		number, protocol, _ := strings.Cut(text, "/")
		if port, err := strconv.ParseUint(number, 10, 16); err == nil && !published[text] {
			out = append(out, shownPort{private: uint32(port), protocol: protocol})
		}
	}
	slices.SortStableFunc(out, func(a, b shownPort) int {
		return cmp.Or(cmp.Compare(a.private, b.private), strings.Compare(a.host, b.host), cmp.Compare(a.public, b.public), strings.Compare(a.protocol, b.protocol))
	})
	return out
}

// exposedOf are a container's exposed ports as far as they mean anything: one without a network of its own has none.
func exposedOf(k *api.Container) []string {
	if len(k.Endpoints) == 0 {
		return nil
	}
	return k.ExposedPorts
}

// hostAddresses are those of the host at which a port is published; none without a host port.
func hostAddresses(p *api.PortBinding) []string {
	switch {
	case p.HostPort == 0:
		return nil
	case p.HostIp == "":
		return []string{"0.0.0.0", "::"}
	}
	return []string{p.HostIp}
}

// published are the same with the port.
func published(p *api.PortBinding) []string {
	var out []string
	for _, host := range hostAddresses(p) {
		out = append(out, net.JoinHostPort(host, strconv.Itoa(int(p.HostPort))))
	}
	return out
}

// portObjects maps "80/tcp" to the addresses of the host that lead there, null for a port that is only exposed.
func portObjects(ports []*api.PortBinding, exposed []string) map[string][]portView {
	out := map[string][]portView{}
	for _, port := range exposed {
		out[port] = nil
	}
	for _, p := range ports {
		key := fmt.Sprintf("%d/%s", p.ContainerPort, orElse(p.Protocol, "tcp"))
		for _, host := range hostAddresses(p) {
			out[key] = append(out[key], portView{HostIP: host, HostPort: strconv.Itoa(int(p.HostPort))})
		}
	}
	return out
}

// bindingObjects maps "80/tcp" to what was asked for, in Docker's words.
func bindingObjects(k *api.Container) map[string][]portView {
	out := map[string][]portView{}
	for _, p := range k.PortBindings {
		key := fmt.Sprintf("%d/%s", p.ContainerPort, orElse(p.Protocol, "tcp"))
		port := ""
		switch {
		case p.HostPortEnd != 0:
			port = fmt.Sprintf("%d-%d", p.HostPort, p.HostPortEnd)
		case p.HostPort != 0:
			port = strconv.Itoa(int(p.HostPort))
		}
		out[key] = append(out[key], portView{HostIP: p.HostIp, HostPort: port})
	}
	return out
}
