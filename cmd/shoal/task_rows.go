package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

var taskListing = listing{
	fields: []field{{"ID", "ID"}, {"Name", "NAME"}, {"Image", "IMAGE"}, {"Node", "NODE"}, {"DesiredState", "DESIRED STATE"}, {"CurrentState", "CURRENT STATE"}, {"Error", "ERROR"}, {"Ports", "PORTS"}},
	table:  "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}",
	quiet:  "ID",
}

// taskFilters are the keys of --filter for tasks.
var taskFilters = []string{"desired-state", "id", "name", "node", "service"}

// taskFlags are the options of service ps and node ps.
type taskFlags struct {
	listFlags
	noResolve bool
}

func (f *taskFlags) check() error {
	return f.filter.oneOf("desired-state", "running", "shutdown", "accepted", "ready", "remove")
}

// taskRows sorts tasks by service and slot, newest first, and shows the older ones of a slot as Docker does.
// listTasks prints the tasks of several nodes or services: of those that are found, even if others are not.
func (c *cli) listTasks(ctx context.Context, f *taskFlags, names []string, of func(name string) (*api.ListTasksRequest, error)) error {
	if err := f.check(); err != nil {
		return err
	}
	d, err := c.client()
	if err != nil {
		return err
	}
	var tasks []*api.TaskInfo
	failed := c.each(names, func(name string) error {
		request, err := of(name)
		if err != nil {
			return err
		}
		r, err := d.Control.ListTasks(ctx, request)
		tasks = append(tasks, r.GetTasks()...)
		return err
	})
	if failed != nil && len(tasks) == 0 {
		return failed
	}
	if err := c.list(taskListing, f.listFlags, taskRows(tasks, f)); err != nil {
		return err
	}
	return failed
}

func taskRows(tasks []*api.TaskInfo, f *taskFlags) []row {
	slices.SortStableFunc(tasks, compareTasks)
	var rows []row
	last := ""
	for _, t := range tasks {
		if !f.matches(t) {
			continue
		}
		r := taskRow(t, f)
		name := r["Name"].(string)
		if name == last && !f.quiet && (f.format == "" || strings.HasPrefix(f.format, "table")) {
			r["Name"] = ` \_ ` + name
		}
		last = name
		rows = append(rows, r)
	}
	return rows
}

func compareTasks(a, b *api.TaskInfo) int {
	if c := strings.Compare(a.Task.ServiceName, b.Task.ServiceName); c != 0 {
		return c
	}
	if a.Task.Slot != b.Task.Slot {
		return int(a.Task.Slot) - int(b.Task.Slot)
	}
	if a.Task.Slot == 0 {
		if c := strings.Compare(a.NodeHostname+a.Task.NodeId, b.NodeHostname+b.Task.NodeId); c != 0 {
			return c
		}
	}
	return newerTask(a.Task, b.Task)
}

func (f *taskFlags) matches(t *api.TaskInfo) bool {
	desired := lower(t.Task.DesiredState)
	return f.filter.prefix("id", t.Task.Id) && f.filter.contains("name", taskName(t, false)) &&
		f.filter.any("node", func(w string) bool { return w == t.NodeHostname || strings.HasPrefix(t.Task.NodeId, w) }) &&
		f.filter.any("service", func(w string) bool { return w == t.Task.ServiceName || strings.HasPrefix(t.Task.ServiceId, w) }) &&
		f.filter.any("desired-state", func(w string) bool {
			return w == desired || w == "shutdown" && t.Task.DesiredState == api.TaskState_REMOVE
		})
}

func taskRow(t *api.TaskInfo, f *taskFlags) row {
	id, image, problem := t.Task.Id, t.Image, t.Task.Status.GetErr()
	if problem != "" && (f.format == "" || strings.HasPrefix(f.format, "table")) {
		problem = `"` + problem + `"`
	}
	if !f.noTrunc {
		if !f.quiet {
			id = shortID(id)
		}
		image = withoutDigest(image)
		problem = ellipsis(problem, 80)
	}
	node := t.NodeHostname
	if f.noResolve || node == "" {
		node = t.Task.NodeId
	}
	return row{
		"ID": id, "Name": taskName(t, f.noResolve), "Image": image, "Node": node, "DesiredState": title(lower(t.Task.DesiredState)),
		"CurrentState": currentState(t.Task), "Error": problem, "Ports": taskPorts(t.Task),
	}
}

// taskName is SERVICE.SLOT, or SERVICE.NODE for global services.
func taskName(t *api.TaskInfo, ids bool) string {
	name, node := t.Task.ServiceName, orElse(t.NodeHostname, t.Task.NodeId)
	if ids || name == "" {
		name, node = t.Task.ServiceId, t.Task.NodeId
	}
	if t.Task.Slot == 0 {
		return name + "." + node
	}
	return fmt.Sprintf("%s.%d", name, t.Task.Slot)
}

func currentState(t *api.Task) string {
	s := title(lower(t.Status.GetState()))
	if a := ago(t.Status.GetTimestamp()); a != "" {
		s += " " + strings.ToLower(a[:1]) + a[1:]
	}
	return s
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func taskPorts(t *api.Task) string {
	var out []string
	for _, p := range t.Status.GetPorts() {
		out = append(out, fmt.Sprintf("*:%d->%d/%s", p.HostPort, p.ContainerPort, orElse(p.Protocol, "tcp")))
	}
	return strings.Join(out, ",")
}

func withoutDigest(image string) string {
	name, _, _ := strings.Cut(image, "@")
	return name
}

func (c *cli) lookupTask(ctx context.Context, name string) (any, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.GetTask(ctx, &api.GetTaskRequest{Ref: name})
	if err != nil {
		return nil, err
	}
	t := r.Task.GetTask()
	o := meta(t.GetId(), t.GetMeta())
	for k, v := range messageFields(t) {
		if k != "Meta" && k != "ID" {
			o[k] = v
		}
	}
	o["NodeHostname"], o["Image"] = r.Task.GetNodeHostname(), r.Task.GetImage()
	o["Spec"] = serviceSpecObject(r.Revision.GetSpec())["TaskTemplate"]
	return o, nil
}
