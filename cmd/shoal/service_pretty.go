package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	units "github.com/docker/go-units"

	"github.com/shoal-dev/shoal/proto/api"
)

// prettyService prints what a person most often asks of a service.
func (c *cli) prettyService(ctx context.Context, name string) error {
	r, err := c.getService(ctx, name)
	if err != nil {
		return err
	}
	names, err := c.networkNames(ctx)
	if err != nil {
		return err
	}
	p := pretty{c.out}
	s := r.Service
	p.head("ID", s.Id)
	p.head("Name", s.Spec.Name)
	p.pairs("Labels", s.Spec.Labels)
	p.head("Service Mode", strings.ToUpper(modeName(s.Spec)[:1])+modeName(s.Spec)[1:])
	if !s.Spec.GetMode().GetGlobal() {
		p.item("Replicas", s.Spec.GetMode().GetReplicas())
	}
	p.item("Running", fmt.Sprintf("%d of %d", r.Counts.GetRunning(), r.Counts.GetDesired()))
	p.update("UpdateStatus", s.UpdateStatus)
	p.placement(s.Spec.Placement)
	p.updateConfig("UpdateConfig", s.Spec.Update)
	p.updateConfig("RollbackConfig", s.Spec.Rollback)
	p.container(s.Spec.Container)
	p.resources(s.Spec)
	p.endpoint(s, names)
	if s.AllocationError != "" {
		p.head("Problem", s.AllocationError)
	}
	fmt.Fprintln(c.out)
	return nil
}

// pretty prints "Name: value" lines, items below a head indented.
type pretty struct{ w io.Writer }

func (p pretty) head(name string, v any) { fmt.Fprintf(p.w, "%-18s %v\n", name+":", v) }

func (p pretty) title(name string) { fmt.Fprintf(p.w, "%s:\n", name) }

func (p pretty) item(name string, v any) { fmt.Fprintf(p.w, " %-17s %v\n", name+":", v) }

func (p pretty) pairs(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	p.title(name)
	for _, pair := range sortedPairs(m) {
		fmt.Fprintf(p.w, " - %s\n", pair)
	}
}

func (p pretty) update(name string, u *api.UpdateStatus) {
	if u.GetState() == api.UpdateStatus_NONE {
		return
	}
	p.title(name)
	p.item("State", updateState(u.State))
	if !isZero(u.StartedAt) {
		p.item("Started", ago(u.StartedAt))
	}
	if !isZero(u.CompletedAt) {
		p.item("Completed", ago(u.CompletedAt))
	}
	if u.Message != "" {
		p.item("Message", u.Message)
	}
}

func (p pretty) placement(pl *api.Placement) {
	if len(pl.GetConstraints())+len(pl.GetPreferences())+int(pl.GetMaxReplicasPerNode()) == 0 {
		return
	}
	p.title("Placement")
	if len(pl.Constraints) > 0 {
		p.item("Constraints", "["+strings.Join(pl.Constraints, " ")+"]")
	}
	for _, pref := range pl.Preferences {
		p.item("Preference", "spread="+pref.Spread)
	}
	if pl.MaxReplicasPerNode > 0 {
		p.item("Max per node", pl.MaxReplicasPerNode)
	}
}

func (p pretty) updateConfig(name string, u *api.UpdateConfig) {
	if u == nil {
		return
	}
	p.title(name)
	p.item("Parallelism", u.Parallelism)
	if d := u.Delay.AsDuration(); d > 0 {
		p.item("Delay", d)
	}
	p.item("On failure", lower(u.FailureAction))
	p.item("Monitoring", u.Monitor.AsDuration())
	p.item("Max failures", u.MaxFailureRatio)
	p.item("Order", lower(u.Order))
}

func (p pretty) container(s *api.ContainerSpec) {
	p.title("ContainerSpec")
	p.item("Image", s.Image)
	p.list("Entrypoint", s.Entrypoint)
	p.list("Args", s.Args)
	p.list("Env", s.Env)
	if s.Workdir != "" {
		p.item("Dir", s.Workdir)
	}
	if s.User != "" {
		p.item("User", s.User)
	}
	for _, m := range s.Mounts {
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		p.item("Mount", fmt.Sprintf("%s %s -> %s (%s)", lower(m.Type), orElse(m.Source, "-"), m.Target, mode))
	}
	if d := s.StopGracePeriod.AsDuration(); d > 0 {
		p.item("Stop grace", d.Round(time.Millisecond))
	}
}

// endpoint is where a service is reached; names are those of networks by ID.
func (p pretty) endpoint(s *api.Service, names map[string]string) {
	if len(s.Spec.Networks) > 0 {
		var list []string
		for _, n := range s.Spec.Networks {
			list = append(list, orElse(names[n.Network], n.Network))
		}
		p.head("Networks", strings.Join(list, " "))
	}
	p.head("Endpoint Mode", lower(s.Spec.GetEndpoint().GetMode()))
	for _, v := range s.Endpoint.GetVirtualIps() {
		p.item("Virtual IP", orElse(names[v.NetworkId], v.NetworkId)+" "+strings.Join(v.Addresses, " "))
	}
	for _, port := range s.Endpoint.GetPorts() {
		p.item("Port", fmt.Sprintf("%d -> %d/%s (%s)", port.PublishedPort, port.TargetPort, protocolOf(port), lower(port.Mode)))
	}
}

func (p pretty) list(name string, words []string) {
	if len(words) > 0 {
		p.item(name, strings.Join(words, " "))
	}
}

func (p pretty) resources(s *api.ServiceSpec) {
	l, r := s.GetContainer().GetLimits(), s.GetReservations()
	amount := func(title string, cpus, memory int64) {
		if cpus+memory == 0 {
			return
		}
		p.title(title)
		if cpus > 0 {
			p.item("CPU", float64(cpus)/1e9)
		}
		if memory > 0 {
			p.item("Memory", units.BytesSize(float64(memory)))
		}
	}
	amount("Reservations", r.GetNanoCpus(), r.GetMemoryBytes())
	amount("Limits", l.GetNanoCpus(), l.GetMemoryBytes())
}
