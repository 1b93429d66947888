//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

// execAPI is exec without a command line's start: over a connection that is there, from the request to the exit code.
func (b *bench) execAPI(ctx context.Context, p *pair) error {
	c, err := client.New(p.host.Socket(), client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	ours := func() error { return execOurs(ctx, c) }
	if err := ours(); err != nil { // connects
		return err
	}
	var theirs func() error
	if p.docker != nil {
		h := dockerAPI(p.docker.Socket())
		theirs = func() error { return execDocker(ctx, h) }
	}
	return b.byTurns(p, "exec over the API, request to exit code", "0.1 of Docker", 50, ours, theirs)
}

func execOurs(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.Containers.Exec(ctx)
	if err != nil {
		return err
	}
	open := &api.ExecOpen{Ref: "sleeper", Command: []string{"true"}}
	if err := s.Send(&api.StreamInput{Kind: &api.StreamInput_Exec{Exec: open}}); err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if x := m.GetExit(); x != nil && x.Code != 0 {
			return fmt.Errorf("exec ended with %d: %s", x.Code, x.Error)
		} else if x != nil {
			return nil
		}
	}
}

// dockerAPI is a client that keeps its connections.
func dockerAPI(socket string) *http.Client {
	path := strings.TrimPrefix(socket, "unix://")
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
}

// execDocker does what `docker exec` does: create, start with the output attached, ask for the exit code.
func execDocker(ctx context.Context, h *http.Client) error {
	var made struct{ ID string }
	create := map[string]any{"AttachStdout": true, "AttachStderr": true, "Cmd": []string{"true"}}
	if err := dockerCall(ctx, h, "POST", "/containers/sleeper/exec", create, &made); err != nil {
		return err
	}
	if err := dockerCall(ctx, h, "POST", "/exec/"+made.ID+"/start", map[string]any{}, nil); err != nil {
		return err
	}
	var ended struct{ ExitCode *int }
	if err := dockerCall(ctx, h, "GET", "/exec/"+made.ID+"/json", nil, &ended); err != nil {
		return err
	}
	if ended.ExitCode == nil || *ended.ExitCode != 0 {
		return errors.New("docker's exec did not end with 0")
	}
	return nil
}

// dockerCall sends one request and reads its answer to the end, which for an attached start is that of the process.
func dockerCall(ctx context.Context, h *http.Client, method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("docker %s %s: %s: %s", method, path, resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}
