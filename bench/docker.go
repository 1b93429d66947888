//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// startSwarm is Docker as a swarm of one, with an overlay network app and the image web:1.
func startSwarm(ctx context.Context, h *hosts.Host, rootfs []byte) (*hosts.Docker, error) {
	d, err := hosts.StartDocker(ctx, h)
	if err != nil {
		return nil, err
	}
	_, err = d.CLI(ctx, bytes.NewReader(rootfs), "import", "--change", `ENTRYPOINT ["/web"]`, "-", "web:1")
	if err == nil {
		_, err = d.CLI(ctx, nil, "swarm", "init", "--advertise-addr", h.Addr.String())
	}
	if err == nil {
		_, err = d.CLI(ctx, nil, "network", "create", "-d", "overlay", "--subnet", "10.20.0.0/22", "app")
	}
	if err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

// dockerMemory is the resident memory of dockerd and its containerd, in MiB.
func dockerMemory(d *hosts.Docker) (float64, error) {
	total, err := memoryOf(d.Pid(), "status", "VmRSS:")
	for _, pid := range hosts.Children(d.Pid()) {
		m, _ := memoryOf(pid, "status", "VmRSS:")
		total += m
	}
	return total, err
}
