//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/shoal-dev/shoal/e2e/hosts"
)

// swarmImage is the image as Docker has it. Swarm asks an image's registry before it takes the local one; this one refuses at
// once, where asking Docker Hub from a host without the Internet waits for DNS, 20 seconds a time.
const swarmImage = "127.0.0.1:1/web:1"

// startSwarm is Docker as a swarm of one, with an overlay network app and the image swarmImage.
func startSwarm(ctx context.Context, h *hosts.Host, rootfs []byte) (*hosts.Docker, error) {
	d, err := hosts.StartDocker(ctx, h)
	if err != nil {
		return nil, err
	}
	_, err = d.CLI(ctx, bytes.NewReader(rootfs), "import", "--change", `ENTRYPOINT ["/web"]`, "-", swarmImage)
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
