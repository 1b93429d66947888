//go:build linux

package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Traces lists what a host has in the kernel that a container or a cluster could have left: links, addresses, routes, rules, nft
// tables, mounts, cgroups, processes. The daemon itself is left out. One line each, sorted.
func (h *Host) Traces() ([]string, error) {
	var lines []string
	add := func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) }
	err := h.Inside(func() error { return networkTraces(add) })
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], h.Dir+"/") {
			add("mount %s", f[4])
		}
	}
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + h.CgroupParent() + "/*")
	unified, _ := filepath.Glob("/sys/fs/cgroup/" + h.CgroupParent() + "/*")
	for _, c := range append(roots, unified...) {
		if fi, err := os.Stat(c); err == nil && fi.IsDir() {
			add("cgroup %s", c)
		}
	}
	for _, pid := range h.Pids() {
		cmd, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		add("process %s", strings.ReplaceAll(strings.TrimRight(string(cmd), "\x00"), "\x00", " "))
	}
	for _, dir := range []string{"data/containers", "run/netns", "run/overlay", "run/bundles"} {
		entries, _ := os.ReadDir(filepath.Join(h.Dir, dir))
		for _, e := range entries {
			add("file %s/%s", dir, e.Name())
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// networkTraces looks at the namespace of the calling thread.
func networkTraces(add func(string, ...any)) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		add("link %s", l.Attrs().Name)
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			add("address %s on %s", a.IPNet, l.Attrs().Name)
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Type == unix.RTN_ANYCAST || r.Dst != nil && r.Dst.IP.IsLinkLocalUnicast() {
			continue // the kernel makes them for every link, in its own time, and when forwarding is switched on
		}
		add("route %v table %d dev %s", r.Dst, r.Table, names[r.LinkIndex])
	}
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, r := range rules {
		add("rule %s", r)
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := c.ListTables()
	if err != nil {
		return err
	}
	for _, t := range tables {
		add("nft table %s", t.Name)
	}
	return nil
}
