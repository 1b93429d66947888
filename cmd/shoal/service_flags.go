package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

// serviceFlags are the options with one value that service create and service update share.
type serviceFlags struct {
	specFlags
	isolation                   isolationFlags
	entrypoint                  commandOpt
	replicas, maxPerNode        uintOpt
	endpointMode                choiceOpt
	limitCPU, reserveCPU        cpuOpt
	limitMemory, reserveMemory  bytesOpt
	limitPids                   int64
	stopGrace                   durationOpt
	restartCondition            choiceOpt
	restartDelay, restartWindow durationOpt
	restartAttempts             uintOpt
	update, rollback            updateFlags
	detach, quiet               bool
}

func (s *serviceFlags) add(f *pflag.FlagSet) {
	s.specFlags.add(f, "")
	s.isolation.alone = true
	s.isolation.add(f)
	f.Var(&s.entrypoint, "entrypoint", "Overwrite the default ENTRYPOINT of the image")
	f.Var(&s.replicas, "replicas", "Number of tasks")
	f.Var(&s.maxPerNode, "replicas-max-per-node", "Maximum number of tasks per node (default 0 = unlimited)")
	s.endpointMode.choices = []string{"vip", "dnsrr"}
	f.Var(&s.endpointMode, "endpoint-mode", "Endpoint mode (vip or dnsrr)")
	f.Var(&s.limitCPU, "limit-cpu", "Limit CPUs")
	f.Var(&s.limitMemory, "limit-memory", "Limit Memory")
	f.Int64Var(&s.limitPids, "limit-pids", 0, "Limit maximum number of processes (default 0 = unlimited)")
	f.Var(&s.reserveCPU, "reserve-cpu", "Reserve CPUs")
	f.Var(&s.reserveMemory, "reserve-memory", "Reserve Memory")
	f.Var(&s.stopGrace, "stop-grace-period", "Time to wait before force killing a container (ns|us|ms|s|m|h) (default 10s)")
	s.restartCondition.choices = []string{"none", "on-failure", "any"}
	f.Var(&s.restartCondition, "restart-condition", `Restart when condition is met ("none", "on-failure", "any") (default "any")`)
	f.Var(&s.restartDelay, "restart-delay", "Delay between restart attempts (ns|us|ms|s|m|h) (default 5s)")
	f.Var(&s.restartAttempts, "restart-max-attempts", "Maximum number of restarts before giving up")
	f.Var(&s.restartWindow, "restart-window", "Window used to evaluate the restart policy (ns|us|ms|s|m|h)")
	s.update.add(f, "update", "pause", "continue", "rollback")
	s.rollback.add(f, "rollback", "pause", "continue")
	f.BoolVarP(&s.detach, "detach", "d", false, "Exit immediately instead of waiting for the service to converge")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "Suppress progress output")
}

// apply writes what was given into the spec. The container's lists must be there already: the
// default order of an update depends on the mounts and ports.
func (s *serviceFlags) apply(f *pflag.FlagSet, spec *api.ServiceSpec) error {
	c := spec.Container
	if err := s.specFlags.apply(f, c); err != nil {
		return err
	}
	if err := s.isolation.apply(f, c); err != nil {
		return err
	}
	if f.Changed("entrypoint") {
		c.Entrypoint, c.EntrypointSet = s.entrypoint.words, true
	}
	givenDuration(f, "stop-grace-period", &c.StopGracePeriod, s.stopGrace)
	s.applyResources(f, spec)
	s.applyRestart(f, spec)
	if f.Changed("endpoint-mode") {
		endpoint(spec).Mode = map[string]api.EndpointSpec_Mode{"vip": api.EndpointSpec_VIP, "dnsrr": api.EndpointSpec_DNSRR}[s.endpointMode.value]
	}
	if s.maxPerNode.set {
		placement(spec).MaxReplicasPerNode = s.maxPerNode.value
	}
	s.update.apply(f, "update", &spec.Update, spec)
	s.rollback.apply(f, "rollback", &spec.Rollback, spec)
	if s.replicas.set {
		if spec.Mode.Global {
			return fmt.Errorf("replicas can only be used with replicated mode")
		}
		spec.Mode.Replicas = s.replicas.value
	}
	return nil
}

func (s *serviceFlags) applyResources(f *pflag.FlagSet, spec *api.ServiceSpec) {
	if anyChanged(f, "limit-cpu", "limit-memory", "limit-pids") {
		if spec.Container.Limits == nil {
			spec.Container.Limits = &api.ContainerLimits{}
		}
		l := spec.Container.Limits
		given(f, "limit-cpu", &l.NanoCpus, int64(s.limitCPU))
		given(f, "limit-memory", &l.MemoryBytes, int64(s.limitMemory))
		given(f, "limit-pids", &l.Pids, s.limitPids)
	}
	if anyChanged(f, "reserve-cpu", "reserve-memory") {
		if spec.Reservations == nil {
			spec.Reservations = &api.Resources{}
		}
		given(f, "reserve-cpu", &spec.Reservations.NanoCpus, int64(s.reserveCPU))
		given(f, "reserve-memory", &spec.Reservations.MemoryBytes, int64(s.reserveMemory))
	}
}

func (s *serviceFlags) applyRestart(f *pflag.FlagSet, spec *api.ServiceSpec) {
	if !anyChanged(f, "restart-condition", "restart-delay", "restart-max-attempts", "restart-window") {
		return
	}
	if spec.Restart == nil {
		spec.Restart = &api.RestartPolicy{}
	}
	r := spec.Restart
	if f.Changed("restart-condition") {
		r.Condition = map[string]api.RestartPolicy_Condition{
			"any": api.RestartPolicy_ANY, "on-failure": api.RestartPolicy_ON_FAILURE, "none": api.RestartPolicy_NONE,
		}[s.restartCondition.value]
	}
	givenDuration(f, "restart-delay", &r.Delay, s.restartDelay)
	givenDuration(f, "restart-window", &r.Window, s.restartWindow)
	given(f, "restart-max-attempts", &r.MaxAttempts, s.restartAttempts.value)
}

// endpoint and placement give the part of a spec, made if it was not there.
func endpoint(spec *api.ServiceSpec) *api.EndpointSpec {
	if spec.Endpoint == nil {
		spec.Endpoint = &api.EndpointSpec{}
	}
	return spec.Endpoint
}

func placement(spec *api.ServiceSpec) *api.Placement {
	if spec.Placement == nil {
		spec.Placement = &api.Placement{}
	}
	return spec.Placement
}

// updateFlags are --update-* or --rollback-*.
type updateFlags struct {
	parallelism     uintOpt
	delay, monitor  durationOpt
	order, action   choiceOpt
	maxFailureRatio float32
}

func (u *updateFlags) add(f *pflag.FlagSet, what string, actions ...string) {
	u.order.choices = []string{"start-first", "stop-first"}
	u.action.choices = actions
	f.Var(&u.parallelism, what+"-parallelism", "Maximum number of tasks changed at a time during the "+what+" (0 for all at once) (default 1)")
	f.Var(&u.delay, what+"-delay", "Delay between "+what+"s of tasks (ns|us|ms|s|m|h) (default 0s)")
	f.Var(&u.monitor, what+"-monitor", "Duration after each task's "+what+" to monitor for failure (ns|us|ms|s|m|h) (default 5s)")
	f.Var(&u.order, what+"-order", `Order of the `+what+` ("start-first", "stop-first") (default start-first, or stop-first where a host port, a volume or --replicas-max-per-node forbids it)`)
	f.Var(&u.action, what+"-failure-action", "Action on "+what+` failure (`+quoted(actions)+`) (default "pause")`)
	f.Float32Var(&u.maxFailureRatio, what+"-max-failure-ratio", 0, "Failure rate to tolerate during the "+what)
}

func (u *updateFlags) apply(f *pflag.FlagSet, what string, to **api.UpdateConfig, spec *api.ServiceSpec) {
	if !anyChanged(f, what+"-parallelism", what+"-delay", what+"-monitor", what+"-order", what+"-failure-action", what+"-max-failure-ratio") {
		return
	}
	if *to == nil {
		*to = defaultUpdate(spec)
	}
	c := *to
	given(f, what+"-parallelism", &c.Parallelism, u.parallelism.value)
	givenDuration(f, what+"-delay", &c.Delay, u.delay)
	givenDuration(f, what+"-monitor", &c.Monitor, u.monitor)
	given(f, what+"-max-failure-ratio", &c.MaxFailureRatio, u.maxFailureRatio)
	if f.Changed(what + "-order") {
		c.Order = map[string]api.UpdateConfig_Order{"start-first": api.UpdateConfig_START_FIRST, "stop-first": api.UpdateConfig_STOP_FIRST}[u.order.value]
	}
	if f.Changed(what + "-failure-action") {
		c.FailureAction = map[string]api.UpdateConfig_FailureAction{
			"pause": api.UpdateConfig_FAIL_PAUSE, "continue": api.UpdateConfig_FAIL_CONTINUE, "rollback": api.UpdateConfig_FAIL_ROLLBACK,
		}[u.action.value]
	}
}

// defaultUpdate is what the flags say that were not given.
func defaultUpdate(spec *api.ServiceSpec) *api.UpdateConfig {
	return &api.UpdateConfig{Parallelism: 1, Order: defaultOrder(spec), Monitor: durationpb.New(5 * time.Second)}
}

// defaultOrder starts the new task before the old one is stopped, unless the two cannot be at once.
func defaultOrder(spec *api.ServiceSpec) api.UpdateConfig_Order {
	if spec.GetPlacement().GetMaxReplicasPerNode() > 0 {
		return api.UpdateConfig_STOP_FIRST // every node may have its full number already
	}
	for _, p := range spec.GetEndpoint().GetPorts() {
		if p.Mode == api.PublishMode_HOST {
			return api.UpdateConfig_STOP_FIRST
		}
	}
	for _, m := range spec.GetContainer().GetMounts() {
		if m.Type == api.Mount_VOLUME && m.Source != "" && !m.ReadOnly {
			return api.UpdateConfig_STOP_FIRST
		}
	}
	return api.UpdateConfig_START_FIRST
}

func quoted(words []string) string {
	s := ""
	for i, w := range words {
		if i > 0 {
			s += ", "
		}
		s += `"` + w + `"`
	}
	return s
}
