package main

import (
	"context"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func (c *cli) serviceNames(ctx context.Context) []string {
	d, err := c.client()
	if err != nil {
		return nil
	}
	r, _ := d.Control.ListServices(ctx, &api.ListServicesRequest{})
	var out []string
	for _, s := range r.GetServices() {
		out = append(out, s.Spec.GetName())
	}
	return out
}

func (c *cli) nodeNames(ctx context.Context) []string {
	d, err := c.client()
	if err != nil {
		return nil
	}
	r, _ := d.Control.ListNodes(ctx, &api.ListNodesRequest{})
	out := []string{"self"}
	for _, n := range r.GetNodes() {
		out = append(out, nodeHostname(n))
	}
	return out
}

func (c *cli) overlayNames(ctx context.Context) []string {
	all, _ := c.networks(ctx)
	out := []string{"host"}
	for _, n := range all {
		if n.cluster != nil {
			out = append(out, n.name())
		}
	}
	return out
}

func (c *cli) networkNamesAll(ctx context.Context) []string {
	all, _ := c.networks(ctx)
	var out []string
	for _, n := range all {
		out = append(out, n.name())
	}
	return out
}

func (c *cli) localNetworkNames(ctx context.Context) []string {
	all, _ := c.networks(ctx)
	var out []string
	for _, n := range all {
		if n.local != nil {
			out = append(out, n.name())
		}
	}
	return out
}

func (c *cli) volumeNames(ctx context.Context) []string {
	all, _ := c.volumes(ctx)
	var out []string
	for _, v := range all {
		out = append(out, v.Name)
	}
	return out
}

func (c *cli) imageNames(ctx context.Context) []string {
	all, _ := c.images(ctx, false)
	var out []string
	for _, i := range all {
		for _, tag := range i.Tags {
			out = append(out, tag)
			if name, ok := strings.CutSuffix(tag, ":latest"); ok {
				out = append(out, name)
			}
		}
	}
	return out
}

// containerNamesIn gives the names of containers in one of the states; none given: in any.
func (c *cli) containerNamesIn(states ...api.ContainerState) namesFunc {
	return func(ctx context.Context) []string {
		all, _ := c.allContainers(ctx)
		var out []string
		for _, k := range all {
			if len(states) == 0 || slices.Contains(states, k.State) {
				out = append(out, k.Name)
			}
		}
		return out
	}
}

func (c *cli) containerNames(ctx context.Context) []string { return c.containerNamesIn()(ctx) }

func (c *cli) runningNames(ctx context.Context) []string {
	return c.containerNamesIn(api.ContainerState_CONTAINER_RUNNING, api.ContainerState_PAUSED)(ctx)
}

func (c *cli) allNames(ctx context.Context) []string {
	var out []string
	for _, names := range []namesFunc{c.containerNames, c.imageNames, c.networkNamesAll, c.volumeNames, c.serviceNames} {
		out = append(out, names(ctx)...)
	}
	return out
}
