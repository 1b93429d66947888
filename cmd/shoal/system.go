package main

import "github.com/spf13/cobra"

func newSystemCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "system", Short: "Manage this node's engine"},
		newSystemUsageCommand(c),
		alsoAs(newEventsCommand(c), "shoal system events, shoal events"),
		alsoAs(newInfoCommand(c), "shoal system info, shoal info"),
		newSystemPruneCommand(c),
	)
}
