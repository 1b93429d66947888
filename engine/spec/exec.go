package spec

import (
	"fmt"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// Exec makes the process of an exec session from the configuration of the container it joins.
// User is nil for the container's own.
func Exec(container *specs.Spec, e *api.ExecOpen, user *User, bounding []string) (*specs.Process, error) {
	if len(e.GetCommand()) == 0 {
		return nil, fmt.Errorf("exec: no command given")
	}
	p := *container.Process
	p.Args = e.GetCommand()
	p.Terminal = e.GetTty()
	p.ConsoleSize = nil
	p.Env = slices.Clone(p.Env)
	if e.GetTty() {
		p.Env = MergeEnv([]string{"TERM=xterm"}, p.Env)
	}
	p.Env = MergeEnv(p.Env, e.GetEnv())
	if dir := e.GetWorkdir(); dir != "" {
		if !path.IsAbs(dir) {
			return nil, fmt.Errorf("exec: working directory %q is not an absolute path", dir)
		}
		p.Cwd = path.Clean(dir)
	}
	who := User{UID: p.User.UID, GID: p.User.GID}
	if user != nil {
		who = *user
		p.User = ociUser(who)
		if who.Home != "" {
			p.Env = MergeEnv(p.Env, []string{"HOME=" + who.Home})
			p.Env = MergeEnv(p.Env, e.GetEnv())
		}
	}
	caps := container.Process.Capabilities.Bounding
	if e.GetPrivileged() {
		caps = bounding
		if caps == nil {
			caps = allCaps
		}
		p.NoNewPrivileges, p.ApparmorProfile = false, ""
	}
	p.Capabilities = processCaps(who, caps)
	return &p, nil
}
