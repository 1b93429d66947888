//go:build linux

package enginetest

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// HugePages gives this machine n more huge pages of 2 MiB for as long as the test takes. Their number is one for the whole
// machine: tests of several packages, which run at once, take turns.
func HugePages(t testing.TB, n int) {
	t.Helper()
	NeedRoot(t)
	const path = "/sys/kernel/mm/hugepages/hugepages-2048kB"
	turn, err := os.Open(path)
	if err != nil {
		t.Skip("SKIPPED: no huge pages can be had: ", err)
	}
	t.Cleanup(func() { turn.Close() })
	if err := syscall.Flock(int(turn.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	file := path + "/nr_hugepages"
	before, err := os.ReadFile(file)
	var have int
	if err == nil {
		have, err = strconv.Atoi(strings.TrimSpace(string(before)))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(file, before, 0) })
	want := strconv.Itoa(have + n)
	if err := os.WriteFile(file, []byte(want), 0); err != nil {
		t.Skip("SKIPPED: no huge pages can be had: ", err)
	}
	if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != want {
		t.Skipf("SKIPPED: %s huge pages were asked for, there are %s", want, got)
	}
}
