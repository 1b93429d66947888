package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	units "github.com/docker/go-units"

	"github.com/shoal-dev/shoal/internal/constraint"
	"github.com/shoal-dev/shoal/proto/api"
)

// ulimitOpt is --ulimit: NAME=SOFT[:HARD].
type ulimitOpt struct{ values []*api.Ulimit }

func (u *ulimitOpt) String() string { return "" }
func (u *ulimitOpt) Type() string   { return "ulimit" }

func (u *ulimitOpt) Set(s string) error {
	l, err := units.ParseUlimit(s)
	if err != nil {
		return fmt.Errorf("expected NAME=SOFT[:HARD]: %w", err)
	}
	u.values = append(u.values, &api.Ulimit{Name: l.Name, Soft: l.Soft, Hard: l.Hard})
	return nil
}

// networkOpt is --network: NAME, or name=NAME,alias=A,ip=... where fields allows more than the name.
type networkOpt struct {
	values []*api.LocalNetworkAttachment
	fields []string
}

func (n *networkOpt) String() string { return "" }
func (n *networkOpt) Type() string   { return "network" }

func (n *networkOpt) Set(s string) error {
	a := &api.LocalNetworkAttachment{}
	if !strings.Contains(s, "=") {
		a.Network = s
	} else if err := parseNetwork(a, s, n.fields); err != nil {
		return err
	}
	if a.Network == "" {
		return fmt.Errorf("a network's name is missing")
	}
	n.values = append(n.values, a)
	return nil
}

func parseNetwork(a *api.LocalNetworkAttachment, s string, allowed []string) error {
	fields, err := csvFields(s)
	if err != nil {
		return err
	}
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		if !slices.Contains(allowed, key) {
			return fmt.Errorf("unknown field '%s': use %s", key, strings.Join(allowed, ", "))
		}
		switch key {
		case "name":
			a.Network = value
		case "alias":
			a.Aliases = append(a.Aliases, value)
		case "ip", "ip6":
			if err := networkIP(a, key, value); err != nil {
				return err
			}
		case "mac-address":
			a.Mac = value
		case "link-local-ip":
			a.LinkLocalIps = append(a.LinkLocalIps, value)
		}
	}
	return nil
}

func networkIP(a *api.LocalNetworkAttachment, key, value string) error {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Is4() != (key == "ip") {
		return fmt.Errorf("%s=%s is not an address of its family", key, value)
	}
	if key == "ip" {
		a.Ip = value
	} else {
		a.Ip6 = value
	}
	return nil
}

// parseDevice reads --device: HOST[:CONTAINER[:PERMISSIONS]].
func parseDevice(s string) (*api.Device, error) {
	parts := strings.Split(s, ":")
	d := &api.Device{HostPath: parts[0], ContainerPath: parts[0], Permissions: "rwm"}
	switch len(parts) {
	case 1:
	case 2:
		if isPermissions(parts[1]) {
			d.Permissions = parts[1]
		} else {
			d.ContainerPath = parts[1]
		}
	case 3:
		d.ContainerPath, d.Permissions = parts[1], parts[2]
	default:
		return nil, fmt.Errorf("expected HOST[:CONTAINER[:PERMISSIONS]]")
	}
	if !strings.HasPrefix(d.HostPath, "/") || !strings.HasPrefix(d.ContainerPath, "/") {
		return nil, fmt.Errorf("paths of devices must be absolute: %s", s)
	}
	if !isPermissions(d.Permissions) {
		return nil, fmt.Errorf("permissions '%s' are not made of r, w and m", d.Permissions)
	}
	return d, nil
}

func isPermissions(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == ""
}

// checkHost reads --host and --add-host: NAME:IP or NAME=IP.
func checkHost(s string) (string, error) {
	name, ip, ok := strings.Cut(s, ":")
	if n, i, eq := strings.Cut(s, "="); eq && (!ok || len(n) < len(name)) {
		name, ip, ok = n, i, true
	}
	ip = strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]")
	if !ok || name == "" {
		return "", fmt.Errorf("expected HOST:IP")
	}
	if _, err := netip.ParseAddr(ip); err != nil && ip != "host-gateway" {
		return "", fmt.Errorf("invalid IP address in add-host: '%s'", ip)
	}
	return name + ":" + ip, nil
}

func checkIP(s string) (string, error) {
	if _, err := netip.ParseAddr(s); err != nil {
		return "", fmt.Errorf("'%s' is not an IP address", s)
	}
	return s, nil
}

func checkLinkLocal(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err != nil || !a.IsLinkLocalUnicast() {
		return "", fmt.Errorf("'%s' is not a link-local address (169.254.0.0/16 or fe80::/10)", s)
	}
	return s, nil
}

// checkLink reads --link: NAME or NAME:ALIAS.
func checkLink(s string) (string, error) {
	name, alias, ok := strings.Cut(s, ":")
	if !ok || alias == "" {
		alias = strings.TrimPrefix(name, "/")
	}
	if name == "" || strings.Contains(alias, ":") {
		return "", fmt.Errorf("expected CONTAINER[:ALIAS]")
	}
	return name + ":" + alias, nil
}

func checkCapability(s string) (string, error) {
	name := strings.ToUpper(strings.TrimSpace(s))
	if name == "ALL" {
		return name, nil
	}
	if !strings.HasPrefix(name, "CAP_") {
		name = "CAP_" + name
	}
	if !isCapability(name) {
		return "", fmt.Errorf("'%s' is not the name of a capability, for example NET_ADMIN", s)
	}
	return name, nil
}

// isCapability says whether it has the form of one; which there are, the node knows.
func isCapability(s string) bool {
	rest, ok := strings.CutPrefix(s, "CAP_")
	return ok && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" && strings.TrimLeft(rest, "0123456789_") == rest && rest != ""
}

// checkConstraint refuses early what no manager would take.
func checkConstraint(s string) (string, error) {
	if _, err := constraint.Parse([]string{s}); err != nil {
		return "", err
	}
	return s, nil
}

// checkPreference reads --placement-pref: spread=node.labels.X.
func checkPreference(s string) (string, error) {
	strategy, value, ok := strings.Cut(s, "=")
	if !ok || value == "" {
		return "", fmt.Errorf("expected spread=KEY, for example spread=node.labels.rack")
	}
	if strings.ToLower(strategy) != "spread" {
		return "", fmt.Errorf("unsupported placement preference '%s': only spread is supported", strategy)
	}
	if err := constraint.CheckKey(value); err != nil {
		return "", err
	}
	return value, nil
}

// splitCommand cuts a command line into words, with quotes and backslashes as a shell reads them.
func splitCommand(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("unfinished quote in %q", s)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// commandOpt is --entrypoint and --args of services: one string, cut into words.
type commandOpt struct {
	words []string
	set   bool
}

func (o *commandOpt) String() string { return "" }
func (o *commandOpt) Type() string   { return "command" }

func (o *commandOpt) Set(s string) (err error) {
	o.words, err = splitCommand(s)
	o.set = true
	return err
}
