package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

// serviceLogFlags say how lines of many tasks are told apart.
type serviceLogFlags struct {
	logFlags
	noResolve, noTaskIDs, noTrunc, raw bool
}

func newServiceLogsCommand(c *cli) *cobra.Command {
	var f serviceLogFlags
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] SERVICE|TASK",
		Short: "Fetch the logs of a service or task",
		Example: `  shoal service logs -f --tail 20 web
  shoal service logs --since 10m --no-task-ids web`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.serviceNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.serviceLogs(cmd.Context(), args[0], &f)
		},
	}
	f.add(cmd, false)
	fl := cmd.Flags()
	fl.BoolVar(&f.noResolve, "no-resolve", false, "Do not map IDs to Names in output")
	fl.BoolVar(&f.noTaskIDs, "no-task-ids", false, "Do not include task IDs in output")
	fl.BoolVar(&f.noTrunc, "no-trunc", false, "Do not truncate output")
	fl.BoolVar(&f.raw, "raw", false, "Do not neatly format logs")
	return cmd
}

func (c *cli) serviceLogs(ctx context.Context, ref string, f *serviceLogFlags) error {
	options, err := f.options(time.Now())
	if err != nil {
		return err
	}
	req, err := c.logTarget(ctx, ref)
	if err != nil {
		return err
	}
	req.Options = options
	d, err := c.client()
	if err != nil {
		return err
	}
	stream, err := d.Control.ServiceLogs(ctx, req)
	if err != nil {
		return err
	}
	names := &taskNames{c: c, f: f, service: req.ServiceId, names: map[string]string{}}
	for {
		m, err := stream.Recv()
		if isEOF(err) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Warning != "" {
			c.warn([]string{m.Warning})
		}
		for _, l := range m.Lines {
			if err := f.writeLine(c.out, c.err, names.prefix(ctx, m), l); err != nil {
				return err
			}
		}
	}
}

// logTarget finds a service by this name, else a task.
func (c *cli) logTarget(ctx context.Context, ref string) (*api.ServiceLogsRequest, error) {
	s, err := c.getService(ctx, ref)
	if err == nil {
		return &api.ServiceLogsRequest{ServiceId: s.Service.Id}, nil
	}
	if !client.IsNotFound(err) {
		return nil, err
	}
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	t, err := d.Control.GetTask(ctx, &api.GetTaskRequest{Ref: ref})
	if client.IsNotFound(err) {
		return nil, fmt.Errorf("no such task or service: %s", ref)
	}
	if err != nil {
		return nil, err
	}
	return &api.ServiceLogsRequest{TaskId: t.Task.Task.Id}, nil
}

// taskNames makes "web.1.abcdefghijkl@node    | " and asks for names again when a task is new.
type taskNames struct {
	c       *cli
	f       *serviceLogFlags
	service string
	names   map[string]string
	widest  int
}

func (n *taskNames) prefix(ctx context.Context, m *api.ServiceLogsMessage) string {
	if n.f.raw {
		return ""
	}
	if _, ok := n.names[m.TaskId]; !ok {
		n.load(ctx)
	}
	name, ok := n.names[m.TaskId]
	if !ok {
		name = m.TaskId + "@" + m.NodeId
		n.names[m.TaskId] = name
	}
	n.widest = max(n.widest, len(name))
	return name + strings.Repeat(" ", n.widest-len(name)) + "    | "
}

func (n *taskNames) load(ctx context.Context) {
	d, err := n.c.client()
	if err != nil {
		return
	}
	r, err := d.Control.ListTasks(ctx, &api.ListTasksRequest{ServiceId: n.service})
	if err != nil {
		return // the IDs do as well
	}
	for _, t := range r.Tasks {
		n.names[t.Task.Id] = n.name(t)
		n.widest = max(n.widest, len(n.names[t.Task.Id]))
	}
}

func (n *taskNames) name(t *api.TaskInfo) string {
	name := taskName(t, n.f.noResolve)
	if !n.f.noTaskIDs {
		id := t.Task.Id
		if !n.f.noTrunc {
			id = shortID(id)
		}
		name += "." + id
	}
	node := t.NodeHostname
	if n.f.noResolve || node == "" {
		node = t.Task.NodeId
	}
	return name + "@" + node
}
