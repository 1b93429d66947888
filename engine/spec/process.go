package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// maxHostname is the kernel's __NEW_UTS_LEN.
const maxHostname = 64

func process(o Options, caps []string) (*specs.Process, error) {
	argv, err := Command(o.Spec, o.Image)
	if err != nil {
		return nil, err
	}
	if dir := o.Spec.GetWorkdir(); dir != "" && !path.IsAbs(dir) {
		return nil, fmt.Errorf("working directory %q is not an absolute path", dir)
	}
	if name := o.Spec.GetHostname(); len(name) > maxHostname {
		return nil, fmt.Errorf("hostname %q has %d bytes, the kernel takes %d", name, len(name), maxHostname)
	}
	rlimits, err := rlimits(o.Spec.GetUlimits())
	if err != nil {
		return nil, err
	}
	p := &specs.Process{
		Terminal:        o.Spec.GetTty(),
		User:            ociUser(o.User),
		Args:            argv,
		Env:             withHome(MergeEnv(o.LinkEnv, Env(o.Spec, o.Image, o.Hostname)), o.User),
		Cwd:             Workdir(o.Spec, o.Image),
		Capabilities:    processCaps(o.User, caps),
		Rlimits:         rlimits,
		NoNewPrivileges: o.Spec.GetNoNewPrivileges(),
		ApparmorProfile: o.Spec.GetApparmor(),
		SelinuxLabel:    o.ProcessLabel,
	}
	if adj := int(o.Spec.GetOomScoreAdj()); adj != 0 {
		if adj < -1000 || adj > 1000 {
			return nil, fmt.Errorf("--oom-score-adj %d is not between -1000 and 1000", adj)
		}
		p.OOMScoreAdj = &adj
	}
	return p, nil
}

func ociUser(u User) specs.User {
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: u.Groups}
}

func withHome(env []string, u User) []string {
	if slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		return env
	}
	home := u.Home
	if home == "" {
		home = "/"
	}
	return append(env, "HOME="+home)
}

// processCaps leaves a user other than root only the bounding set, which is what execve would do anyway.
func processCaps(u User, caps []string) *specs.LinuxCapabilities {
	c := &specs.LinuxCapabilities{Bounding: caps}
	if u.UID == 0 {
		c.Effective, c.Permitted = caps, caps
	}
	return c
}

// rlimitNames are the kernel's, as the ulimit command and Docker spell them.
var rlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
	"rss", "rtprio", "rttime", "sigpending", "stack",
}

func rlimits(in []*api.Ulimit) ([]specs.POSIXRlimit, error) {
	var out []specs.POSIXRlimit
	for _, u := range in {
		if !slices.Contains(rlimitNames, u.GetName()) {
			return nil, fmt.Errorf("unknown ulimit %q", u.GetName())
		}
		if u.GetHard() != -1 && (u.GetSoft() > u.GetHard() || u.GetSoft() == -1) {
			return nil, fmt.Errorf("ulimit %s: soft limit %d is above the hard limit %d", u.GetName(), u.GetSoft(), u.GetHard())
		}
		// -1 is unlimited: all bits set.
		out = append(out, specs.POSIXRlimit{
			Type: "RLIMIT_" + strings.ToUpper(u.GetName()), Soft: uint64(u.GetSoft()), Hard: uint64(u.GetHard()),
		})
	}
	return out, nil
}
