package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/shoal-dev/shoal/internal/constraint"
)

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
