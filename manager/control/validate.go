package control

import (
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/constraint"
	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// maxName is what fits a DNS label (RFC 1035 section 2.3.4).
const maxName = 63

func validateName(what, name string) error {
	switch {
	case name == "":
		return invalid("%s without a name: use --name", what)
	case len(name) > maxName:
		return invalid("%s name %q is too long: at most %d characters", what, name, maxName)
	case !names.Object(name) || !names.EndsClean(name):
		return invalid("%s name %q: only letters, digits, '-', '_' and '.', with a letter or digit at both ends", what, name)
	}
	return nil
}

// validateServiceSpec checks what only a service has, or may not have, and what its flags have other names for. All else about its
// container is Deps.CheckSettings' part.
func validateServiceSpec(spec *api.ServiceSpec) error {
	if spec == nil || spec.Container == nil {
		return invalid("service without a container: name an image")
	}
	for _, check := range []func(*api.ServiceSpec) error{
		func(s *api.ServiceSpec) error { return validateName("service", s.Name) },
		func(s *api.ServiceSpec) error { return validateSize("service "+s.Name, s) },
		validateMode, validateContainer, validateResources, validatePlacement, validatePorts, validateNetworks,
		func(s *api.ServiceSpec) error { return validateUpdate("update", s.Update) },
		func(s *api.ServiceSpec) error { return validateUpdate("rollback", s.Rollback) },
		validateRestart,
	} {
		if err := check(spec); err != nil {
			return err
		}
	}
	return nil
}

// validate checks a spec as far as that needs no rows.
func (s *Server) validate(spec *api.ServiceSpec) error {
	if err := validateServiceSpec(spec); err != nil {
		return err
	}
	if s.deps.CheckSettings == nil {
		return nil
	}
	if err := s.deps.CheckSettings(spec); err != nil {
		return invalid("service %s: %v", spec.Name, err)
	}
	return nil
}

// maxSpec is what one object may ask managers to keep, in bytes. Each change of it goes through the log of all of them, and
// while a very large entry is under way nothing else is.
const maxSpec = 1 << 20

func validateSize(what string, spec proto.Message) error {
	if n := proto.Size(spec); n > maxSpec {
		return invalid("%s is too large: %d bytes of settings, at most %d", what, n, maxSpec)
	}
	return nil
}

// maxReplicas is far more than the addresses of any network, and no accident of a script.
const maxReplicas = 1_000_000

func validateMode(s *api.ServiceSpec) error {
	if n := s.Mode.GetReplicas(); n > maxReplicas {
		return invalid("%d replicas are too many: at most %d", n, maxReplicas)
	}
	if s.Mode == nil {
		return invalid("service without a mode: replicated or global")
	}
	if s.Mode.Global && s.Mode.Replicas != 0 {
		return invalid("replicas can only be used with mode replicated")
	}
	return nil
}

func validateContainer(s *api.ServiceSpec) error {
	c := s.Container
	if c.Image == "" {
		return invalid("service %s without an image", s.Name)
	}
	if c.Privileged {
		return invalid("--privileged is not available to services: add the capabilities it needs with --cap-add")
	}
	for field, mode := range map[string]string{"--pid": c.PidMode, "--ipc": c.IpcMode} {
		if strings.HasPrefix(mode, "container:") {
			return invalid("%s %s is not available to services: tasks move between nodes", field, mode)
		}
	}
	for _, e := range c.Env {
		if name, _, _ := strings.Cut(e, "="); name == "" {
			return invalid("environment variable %q has no name", e)
		}
	}
	return validateHosts(c)
}

func validateHosts(c *api.ContainerSpec) error {
	for _, h := range c.Hosts {
		name, addr, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return invalid("extra host %q: write NAME:ADDRESS", h)
		}
		if _, err := netip.ParseAddr(addr); err != nil {
			return invalid("extra host %q: %q is not an address", h, addr)
		}
	}
	for _, n := range c.Dns.GetNameservers() {
		if _, err := netip.ParseAddr(n); err != nil {
			return invalid("DNS server %q is not an address", n)
		}
	}
	return nil
}

// minMemory is what a container needs at least; below it, it cannot even start.
const minMemory = 6 << 20

func validateResources(s *api.ServiceSpec) error {
	l, r := s.Container.GetLimits(), s.Reservations
	if l.GetMemoryBytes() != 0 && l.GetMemoryBytes() < minMemory {
		return invalid("--limit-memory of %d bytes is too low: at least 6m", l.GetMemoryBytes())
	}
	if l.GetNanoCpus() < 0 || r.GetNanoCpus() < 0 || r.GetMemoryBytes() < 0 || l.GetPids() < 0 {
		return invalid("--limit-cpu, --limit-memory, --limit-pids, --reserve-cpu and --reserve-memory cannot be negative")
	}
	if n := l.GetNanoCpus(); n != 0 && n < 1e7 {
		return invalid("--limit-cpu of %g is too low: at least 0.01", float64(n)/1e9)
	}
	if l.GetMemoryBytes() != 0 && r.GetMemoryBytes() > l.GetMemoryBytes() {
		return invalid("--reserve-memory is more than --limit-memory")
	}
	if l.GetNanoCpus() != 0 && r.GetNanoCpus() > l.GetNanoCpus() {
		return invalid("--reserve-cpu is more than --limit-cpu")
	}
	return nil
}

func validatePlacement(s *api.ServiceSpec) error {
	if _, err := constraint.Parse(s.GetPlacement().GetConstraints()); err != nil {
		return invalid("%v", err)
	}
	for _, p := range s.GetPlacement().GetPreferences() {
		if p.Spread == "" {
			return invalid("placement preference without a value: write spread=node.labels.NAME")
		}
		if err := constraint.CheckKey(p.Spread); err != nil {
			return invalid("placement preference: %v", err)
		}
	}
	return nil
}

func validatePorts(s *api.ServiceSpec) error {
	seen := map[string]bool{}
	for _, p := range s.GetEndpoint().GetPorts() {
		switch {
		case p.TargetPort == 0 || p.TargetPort > 65535 || p.PublishedPort > 65535:
			return invalid("port %d:%d is out of range: 1 to 65535", p.PublishedPort, p.TargetPort)
		case protocol(p) != "tcp" && protocol(p) != "udp" && protocol(p) != "sctp":
			return invalid("protocol %q of port %d is unknown: tcp, udp or sctp", p.Protocol, p.TargetPort)
		case p.PublishedPort != 0 && seen[portKey(p)]:
			return invalid("port %s is published twice", portKey(p))
		case s.Endpoint.Mode == api.EndpointSpec_DNSRR && p.Mode == api.PublishMode_INGRESS:
			return invalid("port %d: ingress needs a virtual IP, which endpoint mode dnsrr has not: use mode=host", p.TargetPort)
		}
		seen[portKey(p)] = true
	}
	return nil
}

func validateNetworks(s *api.ServiceSpec) error {
	seen := map[string]bool{}
	for _, n := range s.Networks {
		if n.Network == "" {
			return invalid("network without a name")
		}
		if seen[n.Network] {
			return invalid("network %s is named twice", n.Network)
		}
		seen[n.Network] = true
		if n.Network == "host" && len(s.GetEndpoint().GetPorts()) > 0 {
			return invalid("ports cannot be published on network host: the container has the host's ports")
		}
	}
	return nil
}

func validateUpdate(what string, u *api.UpdateConfig) error {
	if u == nil {
		return nil
	}
	if u.MaxFailureRatio < 0 || u.MaxFailureRatio > 1 {
		return invalid("%s-max-failure-ratio %g is out of range: 0 to 1", what, u.MaxFailureRatio)
	}
	if u.Delay.AsDuration() < 0 || u.Monitor.AsDuration() < 0 {
		return invalid("%s-delay and %s-monitor cannot be negative", what, what)
	}
	if what == "rollback" && u.FailureAction == api.UpdateConfig_FAIL_ROLLBACK {
		return invalid("rollback-failure-action cannot be rollback: pause or continue")
	}
	return nil
}

func validateRestart(s *api.ServiceSpec) error {
	if s.Restart.GetDelay().AsDuration() < 0 || s.Restart.GetWindow().AsDuration() < 0 {
		return invalid("restart-delay and restart-window cannot be negative")
	}
	return nil
}
