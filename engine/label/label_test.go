//go:build linux

package label

import (
	"os"
	"strings"
	"testing"
)

// What needs a kernel with SELinux is tested on one: TestSELinux of e2e/vm.
func TestWithoutSELinux(t *testing.T) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Skip("SKIPPED: this machine has SELinux, which e2e/vm tests")
	}
	if _, err := Open(true); err == nil || !strings.Contains(err.Error(), "no SELinux") {
		t.Errorf("switched on: %v", err)
	}
	s, err := Open(false)
	if err != nil || s.On() {
		t.Fatal("switched off:", s, err)
	}
	for _, o := range []string{"type:container_t", "level:s0:c1,c2", "user:", "colour:red", "nested", "disabled"} {
		if l, err := s.Choose([]string{o}); err == nil || !strings.Contains(err.Error(), "label="+o) || strings.Contains(err.Error(), "\n") {
			t.Errorf("option %s: %v, %v", o, l, err)
		}
	}
	for _, options := range [][]string{nil, {"disable"}} {
		if l, err := s.Choose(options); l != (Labels{}) || err != nil {
			t.Errorf("options %v: %v, %v", options, l, err)
		}
	}
}

func TestShared(t *testing.T) {
	for in, want := range map[string]string{
		"system_u:object_r:container_file_t:s0:c1,c2": "system_u:object_r:container_file_t:s0",
		"system_u:object_r:container_file_t:s0":       "system_u:object_r:container_file_t:s0",
		"system_u:object_r:container_file_t":          "system_u:object_r:container_file_t", // a policy without levels
	} {
		if got := Shared(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
