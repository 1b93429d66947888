package main

import "github.com/spf13/pflag"

// acceptNames lets flags be given by names that Docker once had for them and still takes, without showing those: scripts are older than the
// names. old leads to new.
func acceptNames(f *pflag.FlagSet, names map[string]string) {
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if now, ok := names[name]; ok {
			name = now
		}
		return pflag.NormalizedName(name)
	})
}
