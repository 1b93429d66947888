package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/node"
)

// newDaemonCommand is the daemon's own verb. Every flag can also stand in the file that --config names, one
// "name = value" a line.
func newDaemonCommand() *cobra.Command {
	var cfg node.Config
	var level, file string
	cmd := &cobra.Command{
		Use:   "daemon [OPTIONS]",
		Short: "Run this machine's daemon",
		Long: `Run this machine's daemon: its containers, and its part in a cluster.

Containers outlive it: stop, crash or upgrade the daemon, and no container notices.
Several daemons run side by side on one machine when data directory, run directory,
cgroup parent and network namespace differ.`,
		Example: `  shoal daemon
  shoal daemon --data-dir /srv/shoal --log-level debug
  shoal daemon --config /etc/shoal.conf`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readConfig(cmd, file); err != nil {
				return err
			}
			log, err := newLogger(level)
			if err != nil {
				return err
			}
			cfg.Logger, cfg.Version, cfg.Commit = log, version, commit
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return node.Run(ctx, cfg)
		},
	}
	hostname, _ := os.Hostname()
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&cfg.DataDir, "data-dir", "/var/lib/shoal", "what must survive a reboot")
	f.StringVar(&cfg.RunDir, "run-dir", "/run/shoal", "sockets and mount points; the API socket is shoal.sock in it")
	f.StringVar(&cfg.Hostname, "hostname", hostname, "name of this node")
	f.StringVar(&cfg.ListenAddr, "listen-addr", "", "ADDRESS[:PORT] where a manager listens (default: the advertised address, port 2377)")
	f.StringVar(&cfg.AdvertiseAddr, "advertise-addr", "", "IP address or interface by which others reach this node (default: that of the default route)")
	f.StringVar(&cfg.DataPathAddr, "data-path-addr", "", "IP address or interface for traffic between containers (default: the advertised address)")
	f.Uint16Var(&cfg.GossipPort, "gossip-port", 7946, "TCP and UDP port of gossip between nodes")
	f.Uint16Var(&cfg.DataPathPort, "data-path-port", 4789, "UDP port of the overlay networks, the same on all nodes: the first node's counts")
	f.StringVar(&cfg.CgroupParent, "cgroup-parent", "shoal", "name below which containers' cgroups are made")
	f.StringArrayVar(&cfg.CDISpecDirs, "cdi-spec-dir", []string{"/etc/cdi", "/var/run/cdi"}, "directory of CDI specifications, more than once for several; \"\" for none")
	f.BoolVar(&cfg.SELinux, "selinux-enabled", false, "give containers SELinux labels; needs a kernel that has SELinux, and a policy for containers")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&file, "config", "", "file with any of these flags, one \"name = value\" a line")
	return cmd
}

func newLogger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil || strings.ContainsAny(level, "+-") {
		return nil, fmt.Errorf("--log-level %q is unknown: use debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}

// readConfig sets the flags that the command line left out. An unknown name is refused, with its line.
func readConfig(cmd *cobra.Command, path string) error {
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read --config: %w", err)
	}
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"`)
		flag := cmd.Flags().Lookup(name)
		if !ok || flag == nil || name == "config" || name == "help" {
			return fmt.Errorf("%s line %d: %q is not a setting: see 'shoal daemon --help'", path, i+1, line)
		}
		if flag.Changed {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return fmt.Errorf("%s line %d: %s: %w", path, i+1, name, err)
		}
	}
	return nil
}
