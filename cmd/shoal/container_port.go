package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newContainerPortCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short: "List port mappings or a specific mapping for the container",
		Example: `  shoal port web
  shoal port web 53/udp`,
		Args:              rangeArgs(1, 2),
		ValidArgsFunction: c.completeFirst(c.runningNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := c.getContainer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if len(args) == 1 {
				c.printPorts(k)
				return nil
			}
			return c.printPort(k, args[1])
		},
	}
}

func (c *cli) printPorts(k *api.Container) {
	for _, p := range k.Ports {
		for _, addr := range published(p) {
			fmt.Fprintf(c.out, "%d/%s -> %s\n", p.ContainerPort, orElse(p.Protocol, "tcp"), addr)
		}
	}
}

// printPort prints where one port is published.
func (c *cli) printPort(k *api.Container, want string) error {
	number, protocol, _ := strings.Cut(want, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return fmt.Errorf("invalid port '%s': use a number, or NUMBER/PROTOCOL", want)
	}
	protocol = orElse(protocol, "tcp")
	found := false
	for _, p := range k.Ports {
		if uint64(p.ContainerPort) != port || orElse(p.Protocol, "tcp") != protocol {
			continue
		}
		for _, addr := range published(p) {
			fmt.Fprintln(c.out, addr)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("no public port '%s' published for %s", want, k.Name)
	}
	return nil
}
