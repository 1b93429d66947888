//go:build linux

package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestDevices(t *testing.T) {
	l := openLab(t)
	with := request("with", "sleep 1000")
	with.Spec.Devices = []*api.Device{{HostPath: "/dev/null", ContainerPath: "/dev/mine", Permissions: "rw"}}
	with.Spec.DeviceCgroupRules = []string{"c 1:1 r"} // /dev/mem, which the kernel itself then refuses to show without CAP_SYS_RAWIO
	id := l.run(with)
	if got := l.exec(id, "echo x > /dev/mine && cat /dev/mine && ls -l /dev/mine | cut -c1"); got != "c\n" {
		t.Errorf("got %q", got)
	}
	if !unified() {
		if got := l.exec(id, "cat /sys/fs/cgroup/devices/devices.list"); !strings.Contains(got, "c 1:1 r") {
			t.Errorf("rules %q", got)
		}
	}
	for _, bad := range []string{"c 1 rwm", "x 1:1 r", "c 1:1 q", "c a:1 r", "c 1:1"} {
		r := request("", "true")
		r.Spec.DeviceCgroupRules = []string{bad}
		if _, err := l.Create(l.ctx(), CreateOptions{Request: r}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), bad) {
			t.Errorf("rule %q: %v", bad, err)
		}
	}
	missing := request("", "true")
	missing.Spec.Devices = []*api.Device{{HostPath: "/dev/nope"}}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: missing}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "/dev/nope") {
		t.Errorf("a device that is not there: %v", err)
	}
}

// TestDeviceNodes: as many as are allowed, and no more.
func TestDeviceNodes(t *testing.T) {
	l := openLab(t)
	dir := t.TempDir()
	for i := range 6000 { // more than are read at once, and more than a start could open the directory for
		sub := filepath.Join(dir, fmt.Sprint(i%3))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mknod(filepath.Join(sub, fmt.Sprint("n", i)), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/null", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	no0 := func(path string) bool { return path == filepath.Join(dir, "0") }
	for _, tc := range []struct {
		limit int
		links bool
		skip  func(string) bool
		want  int // -1 for too many
	}{{6000, false, nil, 6000}, {6001, true, nil, 6001}, {6000, true, nil, -1}, {5999, false, nil, -1}, {4000, false, no0, 4000}} {
		found, err := deviceNodes(dir, tc.limit, tc.links, tc.skip)
		if tc.want < 0 {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("more than %d device nodes", tc.limit)) {
				t.Errorf("limit %d: %v", tc.limit, err)
			}
			continue
		}
		if err != nil || len(found) != tc.want {
			t.Errorf("limit %d, links %v: %d, %v, want %d", tc.limit, tc.links, len(found), err, tc.want)
		}
	}
	r := request("", "find /dev/many -type c | wc -l; sleep 1000")
	r.Spec.Devices = []*api.Device{{HostPath: dir, ContainerPath: "/dev/many"}}
	id := l.run(r)
	if got := l.exec(id, "find /dev/many -type c | wc -l; ls -l /dev/many/link | cut -c1"); got != "6001\nc\n" {
		t.Errorf("inside: %q", got)
	}
}

// unified: this machine has control groups of version 2 alone.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// On version 2 rules cannot be read, but tried.
func TestDeviceRuleOnVersion2(t *testing.T) {
	if !unified() {
		t.Skip("SKIPPED: this machine has control groups of version 1, see TestDevices; make e2e-vm has version 2")
	}
	l := openLab(t)
	_, number := disk(t, l.dir)
	try := "mknod /tmp/disk b " + strings.Replace(number, ":", " ", 1) + "; head -c 1 /tmp/disk | wc -c; (: >> /tmp/disk) 2>/dev/null && echo writes; true"
	r := request("reads", "sleep 1000")
	r.Spec.DeviceCgroupRules = []string{"b " + number + " r"}
	if got := l.exec(l.run(r), try); got != "1\n" {
		t.Errorf("with a rule to read: %q", got)
	}
	if got := l.exec(l.run(request("none", "sleep 1000")), try+" 2>/dev/null"); !strings.HasSuffix(got, "0\n") {
		t.Errorf("without a rule: %q", got)
	}
}

// disk is the block device that holds dir, "" if there is none.
func disk(t *testing.T, dir string) (path, number string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	number = fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	link, err := os.Readlink("/sys/dev/block/" + number)
	if err != nil {
		t.Skipf("SKIPPED: %s lies on no block device whose rate could be limited (%v)", dir, err)
	}
	return "/dev/" + filepath.Base(link), number
}

func TestRates(t *testing.T) {
	l := openLab(t)
	dev, number := disk(t, l.dir)
	r := request("", "sleep 1000")
	r.Spec.Limits = &api.ContainerLimits{
		ReadBps: []*api.DeviceRate{{Path: dev, Rate: 1 << 20}}, WriteBps: []*api.DeviceRate{{Path: dev, Rate: 2 << 20}},
		ReadIops: []*api.DeviceRate{{Path: dev, Rate: 100}}, WriteIops: []*api.DeviceRate{{Path: dev, Rate: 200}},
	}
	id := l.run(r)
	files := map[string]string{
		"blkio/%s/blkio.throttle.read_bps_device": number + " 1048576", "blkio/%s/blkio.throttle.write_bps_device": number + " 2097152",
		"blkio/%s/blkio.throttle.read_iops_device": number + " 100", "blkio/%s/blkio.throttle.write_iops_device": number + " 200",
	}
	if unified() {
		files = map[string]string{"%s/io.max": number + " rbps=1048576 wbps=2097152 riops=100 wiops=200"}
	}
	for file, want := range files {
		b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", fmt.Sprintf(file, filepath.Base(l.dir)+"/"+id)))
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", file, got, err, want)
		}
	}
	bad := request("", "true")
	bad.Spec.Limits = &api.ContainerLimits{ReadBps: []*api.DeviceRate{{Path: "/dev/null", Rate: 1}}}
	if _, err := l.Create(l.ctx(), CreateOptions{Request: bad}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "not a block device") {
		t.Errorf("a rate for what is no disk: %v", err)
	}
}
