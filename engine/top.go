//go:build linux

package engine

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/shoal-dev/shoal/engine/ps"
	"github.com/shoal-dev/shoal/proto/api"
)

// Top lists the processes of a running container as the host sees them. args choose the columns as ps's do.
func (e *Engine) Top(ctx context.Context, ref string, args []string) (*api.TopResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	if err := e.requireRunning(c); err != nil {
		return nil, err
	}
	view, err := ps.Parse(strings.Fields(strings.Join(args, " ")))
	if err != nil {
		return nil, errorf(ErrInvalid, "%w", err)
	}
	pids, err := e.cfg.Runtime.Pids(ctx, c.id)
	if err != nil {
		return nil, err
	}
	now, err := ps.Now()
	if err != nil {
		return nil, err
	}
	out := &api.TopResponse{}
	for _, col := range view.Columns {
		out.Titles = append(out.Titles, col.Title)
	}
	var processes []*ps.Process
	for _, pid := range pids {
		p, err := ps.Read(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ps.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
	}
	view.Sort(processes, now)
	for _, p := range processes {
		out.Processes = append(out.Processes, topRow(view.Columns, p, now))
	}
	e.emit(c, "top", nil)
	return out, nil
}

func topRow(columns []ps.Column, p *ps.Process, now ps.Machine) *api.TopResponse_Row {
	row := &api.TopResponse_Row{}
	for _, col := range columns {
		row.Values = append(row.Values, col.Value(p, now))
	}
	return row
}
