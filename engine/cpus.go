//go:build linux

package engine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// Where the kernel lists what there is of each, as "0-3,5".
const (
	onlineCPUs  = "/sys/devices/system/cpu/online"
	onlineNodes = "/sys/devices/system/node/online"
)

// checkCPUs refuses processors and memory nodes that this host does not have: the kernel's own answer says neither which nor
// how many there are. A service's limit on CPUs may be above what one of its nodes has.
func checkCPUs(l *api.ContainerLimits, service bool) error {
	if err := checkSet("--cpuset-cpus", l.GetCpusetCpus(), onlineCPUs); err != nil {
		return err
	}
	if err := checkSet("--cpuset-mems", l.GetCpusetMems(), onlineNodes); err != nil {
		return err
	}
	if service || l.GetNanoCpus() <= 0 {
		return nil
	}
	_, all, err := online(onlineCPUs)
	if err != nil {
		return err
	}
	if have := len(all); l.NanoCpus > int64(have)*1e9 {
		return errorf(ErrInvalid, "%g CPUs are more than this host has: use 0.01 to %d", float64(l.NanoCpus)/1e9, have)
	}
	return nil
}

func checkSet(field, set, file string) error {
	if set == "" {
		return nil
	}
	wanted, err := parseSet(set)
	if err != nil {
		return errorf(ErrInvalid, "%s %q: %w", field, set, err)
	}
	text, there, err := online(file)
	if err != nil {
		return err
	}
	for _, n := range wanted {
		if !slices.Contains(there, n) {
			return errorf(ErrInvalid, "%s %q: this host has no %d, there are %s", field, set, n, text)
		}
	}
	return nil
}

// online reads one of the kernel's lists. A kernel without NUMA has no list of nodes, and one node.
func online(file string) (text string, all []int, err error) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) && file == onlineNodes {
		b, err = []byte("0"), nil
	}
	if err != nil {
		return "", nil, err
	}
	text = strings.TrimSpace(string(b))
	all, err = parseSet(text)
	return text, all, err
}

// maxSet bounds the numbers in a list, so that a wild range costs nothing.
const maxSet = 1 << 13

// parseSet reads "0-3,5".
func parseSet(s string) ([]int, error) {
	var out []int
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || from < 0 || from > to || to >= maxSet {
			return nil, fmt.Errorf("%q is not a number or a range such as 0-3", part)
		}
		for n := from; n <= to; n++ {
			out = append(out, n)
		}
	}
	return out, nil
}
