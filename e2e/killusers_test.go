//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/e2e/hosts"
	"github.com/shoal-dev/shoal/internal/poll"
)

// user is somebody who uses a daemon that dies again and again, and who says so when something is not as it was asked for.
type user struct {
	name  string
	turn  func(u *user)
	ctx   context.Context // ends when the daemon is not killed any more
	t     *testing.T
	h     *hosts.Host
	dir   string
	turns int
	cut   int            // commands that lost the daemon on their way
	ran   map[string]int // name to exit code, of containers whose start was reported
}

func newUsers(ctx context.Context, t *testing.T, h *hosts.Host, registry string) []*user {
	var users []*user
	for name, turn := range map[string]func(*user){
		"run0": runs, "run1": runs, "exec": execs, "change": changes, "net": nets, "copy": copies, "image": makesImages, "store": stores,
		"pull": func(u *user) { pulls(u, registry) },
	} {
		users = append(users, &user{name: name, turn: turn, ctx: ctx, t: t, h: h, dir: t.TempDir(), ran: map[string]int{}})
	}
	return users
}

// lost tells the death of the daemon from a refusal.
func lost(err error) bool {
	return strings.Contains(err.Error(), "the Shoal daemon at")
}

// once runs a command and tells whether the daemon has lived to answer.
func (u *user) once(args ...string) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err = u.h.CLI(ctx, args...)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "lost the connection"):
		u.cut++
	case lost(err): // there is no daemon at the moment: leave the processor to the one that comes
		poll.Until(5*time.Second, func() bool {
			c, err := net.Dial("unix", strings.TrimPrefix(u.h.Socket(), "unix://"))
			return err == nil && c.Close() == nil
		})
	}
	return out, err
}

// do repeats a command until it has been done. If the daemon had done it before it died, the next one refuses it with done.
func (u *user) do(done string, args ...string) string {
	for undisturbed := 0; ; {
		if u.ctx.Err() != nil {
			undisturbed++
		}
		out, err := u.once(args...)
		switch {
		case err == nil, done != "" && strings.Contains(err.Error(), done):
			return out
		case !lost(err):
			u.t.Error(err)
			return ""
		case undisturbed > 20:
			u.t.Errorf("shoal %s: nobody killed the daemon: %v", strings.Join(args, " "), err)
			return ""
		}
	}
}

// wants checks an answer.
func (u *user) wants(want string, args ...string) {
	u.t.Helper()
	if got := u.do("", args...); strings.TrimSpace(got) != want {
		u.t.Errorf("%s: shoal %s says %q, want %q", u.name, strings.Join(args, " "), got, want)
	}
}

// runs starts containers that end with a code of their own.
func runs(u *user) {
	name, code := fmt.Sprintf("%s-%d", u.name, u.turns), u.turns%7
	network := []string{"none", "bridge"}[u.turns%2]
	if _, err := u.once("run", "-d", "--name", name, "--network", network, "box:1", "sh", "-c", fmt.Sprintf("sleep 0.0%d; exit %d", u.turns%9, code)); err == nil {
		u.ran[name] = code
	} else if !lost(err) {
		u.t.Error(err)
	}
}

// execs runs commands that end with a code of their own: it comes back, or the loss of the daemon does.
func execs(u *user) {
	code := 40 + u.turns%50
	_, err := u.once("exec", "keep", "sh", "-c", fmt.Sprintf("sleep 0.0%d; exit %d", u.turns%9, code))
	var exit *exec.ExitError
	switch {
	case err == nil:
		u.t.Errorf("exec of exit %d was a success", code)
	case errors.As(err, &exit) && exit.ExitCode() == code || lost(err):
	default:
		u.t.Errorf("exec of exit %d: %v", code, err)
	}
}

// changes does to a container what can be done to one, and looks whether it is so.
func changes(u *user) {
	if u.turns == 0 {
		u.do("is in use", "run", "-d", "--name", "changed", "--restart", "always", "--network", "none", "box:1", "sleep", "100000")
		u.do("", "start", "changed")
	}
	pid := u.do("", "inspect", "-f", "{{.State.Pid}}", "changed")
	u.do("it is paused", "pause", "changed")
	u.wants("paused", "inspect", "-f", "{{.State.Status}}", "changed")
	u.do("it is running", "unpause", "changed")
	u.wants("running", "inspect", "-f", "{{.State.Status}}", "changed")
	u.wants(strings.TrimSpace(pid), "inspect", "-f", "{{.State.Pid}}", "changed")
	u.do("no such container: changed", "rename", "changed", "changed2")
	u.do("no such container: changed2", "rename", "changed2", "changed")
	limit := fmt.Sprint(100 + u.turns%100)
	u.do("", "update", "--pids-limit", limit, "changed")
	u.wants(limit, "inspect", "-f", "{{.HostConfig.PidsLimit}}", "changed")
	if got := pidsMax(u.h, strings.TrimSpace(u.do("", "inspect", "-f", "{{.Id}}", "changed"))); got != limit {
		u.t.Errorf("the kernel has a limit of %s processes, the row %s", got, limit)
	}
	u.do("", "restart", "-t", "0", "changed")
	u.wants("running", "inspect", "-f", "{{.State.Status}}", "changed")
}

// pidsMax is how many processes the kernel lets a container have.
func pidsMax(h *hosts.Host, id string) string {
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if b, err := os.ReadFile(filepath.Join(dir, h.CgroupParent(), id, "pids.max")); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

// nets moves a container between networks that come and go.
func nets(u *user) {
	u.do("exists", "network", "create", "n1")
	u.do("is in use by container", "run", "-d", "--name", "moved", "box:1", "sleep", "100000")
	u.do("", "start", "moved")
	u.do("is on network n1 already", "network", "connect", "n1", "moved")
	u.wants("2", "exec", "moved", "sh", "-c", "ls /sys/class/net | grep -c ^eth")
	u.do("is not connected", "network", "disconnect", "n1", "moved")
	u.wants("1", "exec", "moved", "sh", "-c", "ls /sys/class/net | grep -c ^eth")
	u.do("no such network", "network", "rm", "n1")
}

// copies takes files in and out of a container that runs and of one that does not, on its own layer, on a volume, over a mounted file.
func copies(u *user) {
	from, to := filepath.Join(u.dir, "from"), filepath.Join(u.dir, "to")
	content := strings.Repeat(fmt.Sprintf("%d\n", u.turns), 20000)
	if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
		u.t.Error(err)
	}
	u.do("is in use by container", "create", "--name", "still", "-v", "copied:/data", "box:1", "true")
	for _, place := range []string{"still:/data/f", "still:/f", "keep:/f", "keep:/etc/hosts"} {
		u.do("", "cp", from, place)
		u.do("", "cp", place, to)
		if got, err := os.ReadFile(to); err != nil || string(got) != content {
			u.t.Errorf("%s came back as %d bytes, want %d: %v", place, len(got), len(content), err)
		}
	}
	u.do("", "export", "-o", to, "still")
	u.do("", "diff", "still")
	u.do("no such container", "rm", "-f", "still")
	u.do("no such volume", "volume", "rm", "copied")
}

// makesImages makes images in all ways, runs them and removes them.
func makesImages(u *user) {
	archive, tar := filepath.Join(u.dir, "image.tar"), filepath.Join(u.dir, "root.tar")
	u.do("", "exec", "keep", "sh", "-c", fmt.Sprintf("echo %d >/turn", u.turns))
	u.do("", "commit", "keep", "made:1")
	u.wants(fmt.Sprint(u.turns), "run", "--rm", "--network", "none", "made:1", "cat", "/turn")
	u.do("", "tag", "made:1", "made:2")
	u.do("", "save", "-o", archive, "made:1")
	u.do("o such image", "rmi", "-f", "made:1")
	u.do("o such image", "rmi", "-f", "made:2")
	u.do("", "load", "-i", archive)
	u.do("", "export", "-o", tar, "keep")
	u.do("", "import", tar, "made:3")
	u.do("", "image", "inspect", "made:1", "made:3")
	u.do("o such image", "rmi", "-f", "made:3") // a container may be left of a run that was cut off
	u.do("o such image", "rmi", "-f", "made:1")
}

// pulls fetches an image of several layers from a registry.
func pulls(u *user, registry string) {
	u.do("", "pull", "-q", registry+"/pulled:1")
	u.wants("3", "run", "--rm", "--network", "none", registry+"/pulled:1", "sh", "-c", "cat /layer-*/f | wc -l")
	u.do("o such image", "rmi", "-f", registry+"/pulled:1")
}

// stores makes volumes, networks and containers that nobody needs, and has them pruned.
func stores(u *user) {
	u.do("", "volume", "create", "--label", "junk", "junk")
	u.do("", "volume", "create", "--label", "junk", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
	u.do("exists", "network", "create", "--label", "junk2", "junk")
	u.do("is in use by container", "run", "--name", "junk", "--label", "junk", "--network", "junk", "-v", "junk:/a", "-v", "memory:/b", "-v", "/c", "box:1", "sh", "-c", "echo x >/a/f")
	u.do("", "wait", "junk")
	u.do("", "container", "prune", "-f", "--filter", "label=junk")
	u.do("", "network", "prune", "-f", "--filter", "label=junk2")
	if u.turns%2 == 0 {
		u.do("", "volume", "prune", "-af", "--filter", "label=junk")
	} else {
		u.do("no such volume", "volume", "rm", "junk", "memory")
	}
	u.do("", "system", "prune", "-f", "--volumes", "--filter", "label=junk")
	if out := u.do("", "ps", "-aq", "--filter", "name=^junk$"); out != "" {
		u.t.Errorf("a container was not pruned: %s", out)
	}
}
