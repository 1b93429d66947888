//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func cpus() int { return runtime.NumCPU() }

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func ratio(ours, other float64) string {
	if other == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", ours/other)
}

// goBench runs benchmarks of a package and returns every metric by "name metric".
func goBench(ctx context.Context, pkg, pattern string, args ...string) (map[string]float64, error) {
	all := append([]string{"test", "-run", "^$", "-bench", pattern, "-count", "1", pkg}, args...)
	cmd := exec.CommandContext(ctx, "go", all...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s%s", strings.Join(all, " "), err, out, errOut.String())
	}
	return parseBench(string(out)), nil
}

var cpuSuffix = regexp.MustCompile(`-\d+$`)

func parseBench(out string) map[string]float64 {
	m := map[string]float64{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := cpuSuffix.ReplaceAllString(f[0], "")
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				m[name+" "+f[i+1]] = v
			}
		}
	}
	return m
}

// memoryOf reads VmRSS, or a field of smaps_rollup, in MiB.
func memoryOf(pid int, file, field string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	total := 0.0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 2 && strings.HasPrefix(f[0], field) {
			kb, _ := strconv.ParseFloat(f[1], 64)
			total += kb / 1024
		}
	}
	return total, nil
}
