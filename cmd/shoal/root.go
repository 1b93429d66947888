package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shortTimeout bounds questions asked on the side: completion, explaining an error.
const shortTimeout = 2 * time.Second

// aliasesKey marks a command that exists under two names, for example `shoal ps` and `shoal container ls`.
const aliasesKey = "aliases"

// The sections of `shoal --help`.
const (
	sectionCommon     = "common"
	sectionManagement = "management"
	sectionCluster    = "cluster"
)

// newRootCommand makes the commands that args may mean; nil: all.
func newRootCommand(c *cli, args []string) *cobra.Command {
	root := group(&cobra.Command{
		Use:           "shoal",
		Short:         "Run containers on a cluster of machines",
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.CompletionOptions.DisableDefaultCmd = true
	root.TraverseChildren = true // -H before the verb is the daemon's even where the verb has a --host of its own
	root.SetHelpCommand(newHelpCommand(root))
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { printHelp(cmd, cmd.OutOrStdout()) })
	root.SetFlagErrorFunc(flagError)
	addGlobalFlags(root, c)
	addSections(root)
	addVerbs(root, c, args)
	hideHelpFlags(root)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		completeWords(root) // not for every command: the start of a run counts
	}
	return root
}

// flagError: an unknown verb is told before a flag of it that is unknown to the group.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		return unknownCommand(cmd, cmd.Flags().Arg(0))
	}
	if errors.Is(err, pflag.ErrHelp) {
		return err // -h where it is no option's short form: cobra prints the help
	}
	return &exitError{code: exitUsage, err: usageError(cmd, "%v", err)}
}

func addGlobalFlags(root *cobra.Command, c *cli) {
	f := root.PersistentFlags()
	f.StringVarP(&c.host, "host", "H", "", "Daemon to connect to: unix:///PATH or HOST:PORT (default $SHOAL_HOST or unix:///run/shoal/shoal.sock)")
	f.StringVar(&c.tls.CACert, "tlscacert", "", `Trust certificates signed by this CA only (default "~/.shoal/ca.pem")`)
	f.StringVar(&c.tls.Cert, "tlscert", "", `Path to TLS certificate file (default "~/.shoal/cert.pem")`)
	f.StringVar(&c.tls.Key, "tlskey", "", `Path to TLS key file (default "~/.shoal/key.pem")`)
	var version bool
	root.Flags().BoolVarP(&version, "version", "v", false, "Print version information and quit")
	root.PersistentPreRun = func(*cobra.Command, []string) { c.fillDefaults() }
	runGroup := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if version {
			fmt.Fprintf(c.out, "Shoal version %s\n", buildVersion())
			return nil
		}
		return runGroup(cmd, args)
	}
}

func (c *cli) fillDefaults() {
	if c.host == "" {
		c.host = defaultHost()
	}
	for name, value := range map[string]*string{"ca.pem": &c.tls.CACert, "cert.pem": &c.tls.Cert, "key.pem": &c.tls.Key} {
		if *value == "" {
			*value = configFile(name)
		}
	}
}

func addSections(root *cobra.Command) {
	root.AddGroup(
		&cobra.Group{ID: sectionCommon, Title: "Common Commands:"},
		&cobra.Group{ID: sectionManagement, Title: "Management Commands:"},
		&cobra.Group{ID: sectionCluster, Title: "Cluster Commands:"},
	)
}

// alsoAs notes the names that a command has.
func alsoAs(cmd *cobra.Command, names string) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[aliasesKey] = names
	return cmd
}

// renamed gives a command another name for its second place in the tree.
func renamed(cmd *cobra.Command, name, names string) *cobra.Command {
	rest := cmd.Use[len(cmd.Name()):]
	cmd.Use, cmd.Aliases = name+rest, nil
	return alsoAs(cmd, names)
}

// hideHelpFlags defines --help everywhere without a short form: -h is run's --hostname.
func hideHelpFlags(cmd *cobra.Command) {
	cmd.Flags().Bool("help", false, "Print usage")
	_ = cmd.Flags().MarkHidden("help")
	for _, child := range cmd.Commands() {
		hideHelpFlags(child)
	}
}
