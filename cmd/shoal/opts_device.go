package main

import (
	"fmt"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

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
