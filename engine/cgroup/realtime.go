//go:build linux

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	rtRuntime = "cpu.rt_runtime_us"
	rtPeriod  = "cpu.rt_period_us"
)

// realtimeV1 lets processes with a real-time policy run, for so long in every period. A new group has no such time, and the
// kernel shares it out from the top: those above get what they need for it.
func (g *Group) realtimeV1(w *writer, c *specs.LinuxCPU) {
	if w.err != nil || c.RealtimePeriod == nil && c.RealtimeRuntime == nil {
		return
	}
	dir := g.dir("cpu")
	if _, err := signed(dir, rtRuntime); dir == "" || errors.Is(err, fs.ErrNotExist) {
		w.err = fmt.Errorf("this kernel has no real-time limits for groups (CONFIG_RT_GROUP_SCHED)")
		return
	}
	for range 5 { // another group may take what has just been made room for
		if w.err = g.setRealtime(dir, c); !errors.Is(w.err, unix.EINVAL) {
			return
		}
	}
	w.err = fmt.Errorf("more real-time than the host's groups have left (cpu.rt_runtime_us in %s is what all have together): %w", dir[:len(dir)-len(g.path)], w.err)
}

func (g *Group) setRealtime(dir string, c *specs.LinuxCPU) error {
	period, err := signed(dir, rtPeriod)
	if err != nil {
		return err
	}
	if c.RealtimePeriod != nil {
		period = int64(*c.RealtimePeriod)
	}
	runtime, err := signed(dir, rtRuntime)
	if err != nil {
		return err
	}
	if c.RealtimeRuntime != nil {
		runtime = *c.RealtimeRuntime
	}
	if period <= 0 || runtime > period {
		return fmt.Errorf("the real-time runtime of %d µs does not fit into the period of %d µs", runtime, period)
	}
	if err := makeRoom(dir[:len(dir)-len(g.path)], g.path, runtime, period); err != nil {
		return err
	}
	set := func(name string, v int64) error { return write(dir, name, strconv.FormatInt(v, 10)) }
	if err := set(rtPeriod, period); err != nil { // shorter than the runtime before
		return errors.Join(set(rtRuntime, runtime), set(rtPeriod, period))
	}
	return set(rtRuntime, runtime)
}

// makeRoom gives the group above one at path what those in it have, and in addition what this one wants.
func makeRoom(root, path string, runtime, period int64) error {
	above := filepath.Dir(path)
	if above == "." {
		return nil // the root has what the machine has
	}
	dir := filepath.Join(root, above)
	total, err := signed(dir, rtPeriod)
	if err != nil {
		return err
	}
	need := share(runtime, period, total)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == filepath.Base(path) {
			continue
		}
		r, err1 := signed(filepath.Join(dir, e.Name()), rtRuntime)
		p, err2 := signed(filepath.Join(dir, e.Name()), rtPeriod)
		if err1 == nil && err2 == nil && r > 0 {
			need += share(r, p, total)
		}
	}
	if have, err := signed(dir, rtRuntime); err != nil || have < 0 || have >= need {
		return err
	}
	if err := makeRoom(root, above, need, total); err != nil {
		return err
	}
	return write(dir, rtRuntime, strconv.FormatInt(need, 10))
}

// share is a part of one period as a part of another, rounded up.
func share(runtime, period, of int64) int64 { return (runtime*of + period - 1) / period }

func signed(dir, name string) (int64, error) {
	text, err := read(dir, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}
