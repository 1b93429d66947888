package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

// specFlags are the options with one value that run, service create and service update share.
type specFlags struct {
	hostname, user, workdir, stopSignal, logDriver string
	init, readOnly, tty, noHealthcheck             bool
	oomScoreAdj                                    int
	logOpts                                        mapOpt
	healthCmd                                      string
	healthInterval, healthTimeout                  durationOpt
	healthStartPeriod, healthStartInterval         durationOpt
	healthRetries                                  int
}

// add defines the options. short is run's one-letter form of --hostname.
func (s *specFlags) add(f *pflag.FlagSet, short string) {
	f.StringVarP(&s.hostname, "hostname", short, "", "Container host name")
	f.StringVarP(&s.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	f.StringVarP(&s.workdir, "workdir", "w", "", "Working directory inside the container")
	f.StringVar(&s.stopSignal, "stop-signal", "", "Signal to stop the container")
	f.BoolVar(&s.init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
	f.BoolVar(&s.readOnly, "read-only", false, "Mount the container's root filesystem as read only")
	f.BoolVarP(&s.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.IntVar(&s.oomScoreAdj, "oom-score-adj", 0, "Tune host's OOM preferences (-1000 to 1000)")
	f.StringVar(&s.logDriver, "log-driver", "", "Logging driver for the container (json-file, local, none)")
	f.Var(&s.logOpts, "log-opt", "Log driver options (max-size, max-file, compress, labels, labels-regex, env, env-regex, tag)")
	f.StringVar(&s.healthCmd, "health-cmd", "", "Command to run to check health")
	f.Var(&s.healthInterval, "health-interval", "Time between running the check (ms|s|m|h)")
	f.Var(&s.healthTimeout, "health-timeout", "Maximum time to allow one check to run (ms|s|m|h)")
	f.Var(&s.healthStartPeriod, "health-start-period", "Start period for the container to initialize before failures count (ms|s|m|h)")
	f.Var(&s.healthStartInterval, "health-start-interval", "Time between running the check during the start period (ms|s|m|h)")
	f.IntVar(&s.healthRetries, "health-retries", 0, "Consecutive failures needed to report unhealthy")
	f.BoolVar(&s.noHealthcheck, "no-healthcheck", false, "Disable any container-specified HEALTHCHECK")
}

// apply writes what was given into the spec and leaves the rest as it is.
func (s *specFlags) apply(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	given(f, "hostname", &spec.Hostname, s.hostname)
	given(f, "user", &spec.User, s.user)
	given(f, "workdir", &spec.Workdir, s.workdir)
	given(f, "stop-signal", &spec.StopSignal, s.stopSignal)
	given(f, "init", &spec.Init, s.init)
	given(f, "read-only", &spec.ReadOnly, s.readOnly)
	given(f, "tty", &spec.Tty, s.tty)
	given(f, "oom-score-adj", &spec.OomScoreAdj, int32(s.oomScoreAdj))
	if s.oomScoreAdj < -1000 || s.oomScoreAdj > 1000 {
		return fmt.Errorf("invalid value %d for --oom-score-adj: use -1000 to 1000", s.oomScoreAdj)
	}
	if err := s.applyLog(f, spec); err != nil {
		return err
	}
	return s.applyHealth(f, spec)
}

// given assigns a flag's value if the flag was on the command line.
func given[T any](f *pflag.FlagSet, name string, to *T, value T) {
	if f.Changed(name) {
		*to = value
	}
}

// logOptions are those that the daemon knows, or refuses with a reason.
var logOptions = []string{"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}

var logDrivers = []string{"json-file", "local", "none"}

func (s *specFlags) applyLog(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	if !anyChanged(f, "log-driver", "log-opt") {
		return nil
	}
	if s.logDriver != "" && !slices.Contains(logDrivers, s.logDriver) {
		return fmt.Errorf("unknown log driver '%s': use %s", s.logDriver, strings.Join(logDrivers, ", "))
	}
	for key := range s.logOpts.values {
		if !slices.Contains(logOptions, key) {
			return fmt.Errorf("unknown log option '%s': use %s", key, strings.Join(logOptions, ", "))
		}
	}
	if spec.Log == nil || f.Changed("log-driver") {
		spec.Log = &api.LogConfig{Driver: s.logDriver}
	}
	if f.Changed("log-opt") {
		spec.Log.Options = s.logOpts.values
	}
	return nil
}

func (s *specFlags) applyHealth(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	health := []string{"health-cmd", "health-interval", "health-timeout", "health-start-period", "health-start-interval", "health-retries"}
	if s.noHealthcheck {
		if anyChanged(f, health...) {
			return fmt.Errorf("--no-healthcheck conflicts with --health-* options")
		}
		spec.Healthcheck = &api.HealthConfig{Test: []string{"NONE"}}
		return nil
	}
	if !anyChanged(f, health...) {
		return nil
	}
	if spec.Healthcheck == nil || len(spec.Healthcheck.Test) == 1 {
		spec.Healthcheck = &api.HealthConfig{}
	}
	h := spec.Healthcheck
	if f.Changed("health-cmd") {
		h.Test = nil
		if s.healthCmd != "" {
			h.Test = []string{"CMD-SHELL", s.healthCmd}
		}
	}
	givenDuration(f, "health-interval", &h.Interval, s.healthInterval)
	givenDuration(f, "health-timeout", &h.Timeout, s.healthTimeout)
	givenDuration(f, "health-start-period", &h.StartPeriod, s.healthStartPeriod)
	givenDuration(f, "health-start-interval", &h.StartInterval, s.healthStartInterval)
	given(f, "health-retries", &h.Retries, int32(s.healthRetries))
	if s.healthRetries < 0 {
		return fmt.Errorf("--health-retries cannot be negative")
	}
	return nil
}

func givenDuration(f *pflag.FlagSet, name string, to **durationpb.Duration, d durationOpt) {
	if f.Changed(name) {
		*to = durationpb.New(time.Duration(d))
	}
}

func anyChanged(f *pflag.FlagSet, names ...string) bool {
	return slices.ContainsFunc(names, f.Changed)
}
