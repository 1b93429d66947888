//go:build !linux

package main

import "github.com/spf13/cobra"

// newDaemonCommand returns nil: only Linux can be a node. The client works everywhere.
func newDaemonCommand() *cobra.Command { return nil }
