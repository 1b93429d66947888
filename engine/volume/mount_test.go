//go:build linux

package volume

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What mount(8) understands by the same options.
func TestMountOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		fstype, device, o string
		flags             uintptr
		data              []string
	}{
		"tmpfs":          {"tmpfs", "tmpfs", "size=100m,uid=1000", 0, []string{"size=100m", "uid=1000"}},
		"flags":          {"tmpfs", "", "ro,nosuid,nodev,noexec,noatime", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME, nil},
		"last wins":      {"tmpfs", "", "ro,rw,noexec,exec", 0, nil},
		"fstab's":        {"ext4", "/dev/x", "defaults,noauto,_netdev,nofail", 0, nil},
		"bind":           {"none", "/srv", "bind", unix.MS_BIND, nil},
		"rbind":          {"", "/srv", "rbind,ro", unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY, nil},
		"nfs":            {"nfs", ":/srv", "addr=192.0.2.1,rw,nfsvers=4", 0, []string{"addr=192.0.2.1", "nfsvers=4"}},
		"nfs, its addr":  {"nfs", "192.0.2.1:/srv", "soft", 0, []string{"soft", "addr=192.0.2.1"}},
		"nfs, IPv6":      {"nfs4", "[2001:db8::1]:/srv", "", 0, []string{"addr=2001:db8::1"}},
		"nfs, by a name": {"nfs", "localhost:/srv", "ro", unix.MS_RDONLY, []string{"addr=LOOPBACK"}},
		"cifs":           {"cifs", "//192.0.2.1/share", "username=u,password=p", 0, []string{"username=u", "password=p"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parseMount(map[string]string{"type": tc.fstype, "device": tc.device, "o": tc.o})
			must(t, err)
			data, err := m.resolved(t.Context())
			must(t, err)
			for i, d := range data {
				data[i] = strings.NewReplacer("127.0.0.1", "LOOPBACK", "::1", "LOOPBACK").Replace(d)
				if strings.Contains(d, "2001:db8") {
					data[i] = d
				}
			}
			if m.flags != tc.flags || !slices.Equal(data, tc.data) {
				t.Errorf("flags %#x, data %q; want %#x, %q", m.flags, data, tc.flags, tc.data)
			}
		})
	}
}

// A mount that cannot be made is one line that names the volume's type and device, and what to do.
func TestMountErrors(t *testing.T) {
	l := open(t, t.TempDir())
	for name, tc := range map[string]struct {
		options map[string]string
		want    string
	}{
		"missing":    {map[string]string{"o": "bind", "device": "/nowhere"}, "type none, device /nowhere: the device does not exist: make it first"},
		"bad option": {map[string]string{"type": "tmpfs", "o": "size=much"}, "type tmpfs, device tmpfs: the kernel refuses the options o=size=much"},
		"no host":    {map[string]string{"type": "nfs", "device": "no-such-host.invalid:/srv"}, "look up no-such-host.invalid"},
	} {
		make1(t, l, "vol", tc.options)
		_, err := l.Mount(t.Context(), "vol", "user")
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		must(t, l.Remove(t.Context(), "vol", false, nil))
	}
}
