package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagWords are the values of flags that take one of a few, by the flag's name. A word that ends in ":" or "=" is a beginning.
func flagWords() map[string][]string {
	signals := strings.Fields("SIGHUP SIGINT SIGQUIT SIGKILL SIGUSR1 SIGUSR2 SIGTERM SIGCONT SIGSTOP SIGWINCH")
	return map[string][]string{
		"restart": {"no", "on-failure", "on-failure:", "always", "unless-stopped"}, "pull": {"always", "missing", "never"},
		"log-driver": {"json-file", "local", "none"}, "log-opt": {"max-size=", "max-file=", "compress=", "labels=", "labels-regex=", "env=", "env-regex=", "tag="},
		"ipc": {"private", "shareable", "host", "container:"}, "pid": {"host", "container:"}, "uts": {"host"},
		"cgroupns": {"private", "host"}, "userns": {"host", "auto", "remap"}, "time-offset": {"monotonic=", "boottime="},
		"security-opt": {"no-new-privileges", "seccomp=", "apparmor=", "label=", "systempaths=unconfined"},
		"signal":       signals, "stop-signal": signals, "attach": {"stdin", "stdout", "stderr"},
		"platform": {"linux/amd64", "linux/arm64"}, "mount": {"type=bind,", "type=volume,", "type=tmpfs,"},
	}
}

// completeWords offers them, the choices of flags that know theirs, and the keys of filters. What is completed otherwise stays.
func completeWords(cmd *cobra.Command) {
	known := flagWords()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		words := known[f.Name]
		switch v := f.Value.(type) {
		case *choiceOpt:
			words = v.choices
		case *filters:
			words = nil
			for _, key := range v.allowed {
				words = append(words, key+"=")
			}
		}
		if len(words) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, offer(words))
		}
	})
	for _, sub := range cmd.Commands() {
		completeWords(sub)
	}
}

// offer completes one of words; no space follows while all that fits is a beginning.
func offer(words []string) completeFunc {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, w := range words {
			if strings.HasPrefix(w, prefix) {
				out = append(out, w)
			}
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if !slices.ContainsFunc(out, func(w string) bool { return !strings.ContainsAny(w[len(w)-1:], ":=,") }) {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return out, directive
	}
}
