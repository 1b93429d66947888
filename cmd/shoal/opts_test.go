package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// parseCase is one text with what it means, or the one line that refuses it.
type parseCase[T any] struct {
	in   string
	want T
	err  string
}

func testParse[T any](t *testing.T, parse func(string) (T, error), cases []parseCase[T]) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.in, func(t *testing.T) {
			got, err := parse(tc.in)
			if err != nil || tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				if strings.Contains(err.Error(), "\n") {
					t.Fatalf("error of more than a line: %q", err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseMount(t *testing.T) {
	testParse(t, parseMount, []parseCase[*api.Mount]{
		{in: "type=bind,source=/a,target=/b", want: &api.Mount{Source: "/a", Target: "/b"}},
		{in: "type=bind,src=/a,dst=/b,ro", want: &api.Mount{Source: "/a", Target: "/b", ReadOnly: true}},
		{in: "type=bind,src=/a,dst=/b,readonly=false,bind-propagation=rslave", want: &api.Mount{Source: "/a", Target: "/b", Propagation: "rslave"}},
		{in: "type=bind,src=/a,dst=/b,bind-nonrecursive", want: &api.Mount{Source: "/a", Target: "/b", NonRecursive: true}},
		{in: "source=data-{{.Task.Slot}},target=/b", want: &api.Mount{Type: api.Mount_VOLUME, Source: "data-{{.Task.Slot}}", Target: "/b"}},
		{in: "source=data,target=/b", want: &api.Mount{Type: api.Mount_VOLUME, Source: "data", Target: "/b"}},
		{in: "type=volume,target=/b,volume-nocopy,volume-opt=o=x,volume-label=a=b", want: &api.Mount{Type: api.Mount_VOLUME, Target: "/b", NoCopy: true, DriverOpts: map[string]string{"o": "x"}, Labels: map[string]string{"a": "b"}}},
		{in: `type=volume,target=/b,"volume-opt=o=addr=1,rw"`, want: &api.Mount{Type: api.Mount_VOLUME, Target: "/b", DriverOpts: map[string]string{"o": "addr=1,rw"}}},
		{in: "type=tmpfs,target=/b,tmpfs-size=64m,tmpfs-mode=1770", want: &api.Mount{Type: api.Mount_TMPFS, Target: "/b", TmpfsSizeBytes: 64 << 20, TmpfsMode: 0o1770}},
		{in: "bad", err: "invalid field 'bad' must be a key=value pair"},
		{in: "type=nfs,target=/b", err: "unsupported mount type 'nfs': use bind, volume or tmpfs"},
		{in: "type=bind,source=/a", err: "target is required"},
		{in: "type=bind,target=/b", err: "source is required for a bind mount"},
		{in: "type=bind,source=a,target=/b", err: "source of a bind mount must be an absolute path: a"},
		{in: "type=bind,source=/a,target=b", err: "target must be an absolute path: b"},
		{in: "type=bind,source=/a,target=/", err: "target cannot be '/'"},
		{in: "type=bind,source=/a,target=/b,volume-nocopy", err: "cannot mix 'volume-*' options with mount type 'bind'"},
		{in: "type=tmpfs,source=/a,target=/b", err: "a tmpfs mount has no source"},
		{in: "type=volume,source=/a,target=/b", err: "invalid volume name '/a': use letters, digits, '_', '.' and '-', at least two, or type=bind for a path"},
		{in: "type=tmpfs,target=/b,tmpfs-size=big", err: "invalid value for tmpfs-size: big"},
		{in: "type=tmpfs,target=/b,tmpfs-mode=9", err: "invalid value for tmpfs-mode: 9 is not an octal number"},
		{in: "type=bind,source=/a,target=/b,ro=maybe", err: "invalid value for ro: maybe (use true or false)"},
		{in: "type=bind,source=/a,target=/b,bind-propagation=up", err: "invalid value for bind-propagation: up (use rprivate, private, rshared, shared, rslave, slave)"},
		{in: "type=bind,source=/a,target=/b,color=red", err: "unknown field 'color': use type, source, target, readonly, bind-propagation, bind-recursive, bind-create-src, volume-driver, volume-opt, volume-label, volume-nocopy, volume-subpath, tmpfs-size, tmpfs-mode"},
		{in: "type=bind,src=/a,dst=/b,bind-recursive=disabled", want: &api.Mount{Source: "/a", Target: "/b", NonRecursive: true}},
		{in: "type=bind,src=/a,dst=/b,ro,bind-recursive=writable,bind-create-src", want: &api.Mount{Source: "/a", Target: "/b", ReadOnly: true, ReadOnlyRecursion: "writable", CreateSource: true}},
		{in: "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly", want: &api.Mount{Source: "/a", Target: "/b", ReadOnly: true, ReadOnlyRecursion: "readonly"}},
		{in: "type=bind,src=/a,dst=/b,bind-recursive=readonly", err: "bind-recursive=readonly is for read-only mounts: add readonly"},
		{in: "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rslave", err: "bind-recursive=readonly needs bind-propagation=rprivate, not rslave: what is mounted later could be written to"},
		{in: "type=bind,src=/a,dst=/b,bind-recursive=maybe", err: "invalid value for bind-recursive: maybe (use enabled, disabled, writable or readonly)"},
		{in: "src=vv,dst=/b,volume-driver=disk,volume-subpath=a/b", want: &api.Mount{Type: api.Mount_VOLUME, Source: "vv", Target: "/b", Driver: "disk", Subpath: "a/b"}},
		{in: `"`, err: "expected KEY=VALUE pairs with commas between them"},
	})
}

func TestParseVolume(t *testing.T) {
	testParse(t, parseVolume, []parseCase[*api.Mount]{
		{in: "/data", want: &api.Mount{Type: api.Mount_VOLUME, Target: "/data"}},
		{in: "data:/data", want: &api.Mount{Type: api.Mount_VOLUME, Source: "data", Target: "/data"}},
		{in: "/src:/data:ro", want: &api.Mount{Source: "/src", Target: "/data", ReadOnly: true, CreateSource: true}},
		{in: "/src:/data:rshared,rw", want: &api.Mount{Source: "/src", Target: "/data", Propagation: "rshared", CreateSource: true}},
		{in: "data:/data:nocopy", want: &api.Mount{Type: api.Mount_VOLUME, Source: "data", Target: "/data", NoCopy: true}},
		{in: "a:b:c:d", err: "use [SOURCE:]TARGET[:OPTIONS]"},
		{in: ":/data", err: "empty source: use [SOURCE:]TARGET[:OPTIONS]"},
		{in: "data:rel", err: "target must be an absolute path: rel"},
		{in: "/srv:/data:nocopy", err: "option 'nocopy' is for volumes only"},
		{in: "data:/data:fast", err: "unknown option 'fast': use ro, rw, z, Z, nocopy or a propagation"},
		{in: "/a:/b:ro,Z", want: &api.Mount{Type: api.Mount_BIND, Source: "/a", Target: "/b", ReadOnly: true, CreateSource: true, Relabel: "Z"}},
		{in: "data:/b:z", want: &api.Mount{Type: api.Mount_VOLUME, Source: "data", Target: "/b", Relabel: "z"}},
		{in: "/a:/b:z,Z", err: "options 'z' and 'Z' exclude each other"},
		{in: "data:/data:shared", err: "option 'shared' is for bind mounts only"},
		{in: "d/x:/data", err: "invalid volume name 'd/x': use letters, digits, '_', '.' and '-', at least two, or type=bind for a path"},
	})
}

func TestParseTmpfs(t *testing.T) {
	testParse(t, parseTmpfs, []parseCase[*api.Mount]{
		{in: "/run", want: &api.Mount{Type: api.Mount_TMPFS, Target: "/run"}},
		{in: "/run:size=1m,mode=755,ro", want: &api.Mount{Type: api.Mount_TMPFS, Target: "/run", TmpfsSizeBytes: 1 << 20, TmpfsMode: 0o755, ReadOnly: true}},
		{in: "/run:rw,noexec,nosuid,size=64k,uid=5", want: &api.Mount{Type: api.Mount_TMPFS, Target: "/run", TmpfsSizeBytes: 64 << 10, TmpfsOptions: []string{"noexec", "nosuid", "uid=5"}}},
		{in: "/run:color=red", err: "unknown tmpfs option 'color=red': use size=, mode=, ro, rw, exec, noexec, suid, nosuid, dev, nodev, noatime, relatime, uid=, gid=, nr_inodes="},
		{in: "/run:uid", err: "unknown tmpfs option 'uid': use size=, mode=, ro, rw, exec, noexec, suid, nosuid, dev, nodev, noatime, relatime, uid=, gid=, nr_inodes="},
		{in: "run", err: "target must be an absolute path: run"},
	})
}

func TestParsePort(t *testing.T) {
	one := func(ip string, host, port uint32, protocol string) *api.PortBinding {
		return &api.PortBinding{Protocol: protocol, ContainerPort: port, HostIp: ip, HostPort: host}
	}
	testParse(t, parsePort, []parseCase[[]*api.PortBinding]{
		{in: "80", want: []*api.PortBinding{one("", 0, 80, "tcp")}},
		{in: "8080:80", want: []*api.PortBinding{one("", 8080, 80, "tcp")}},
		{in: "127.0.0.1:8080:80/udp", want: []*api.PortBinding{one("127.0.0.1", 8080, 80, "udp")}},
		{in: "127.0.0.1::80", want: []*api.PortBinding{one("127.0.0.1", 0, 80, "tcp")}},
		{in: "[::1]:8080:80/SCTP", want: []*api.PortBinding{one("::1", 8080, 80, "sctp")}},
		{in: "8080-8081:80-81", want: []*api.PortBinding{one("", 8080, 80, "tcp"), one("", 8081, 81, "tcp")}},
		{in: "80-81", want: []*api.PortBinding{one("", 0, 80, "tcp"), one("", 0, 81, "tcp")}},
		{in: "abc", err: "invalid container port: 'abc' is not a port from 1 to 65535"},
		{in: "0:80", want: []*api.PortBinding{one("", 0, 80, "tcp")}},
		{in: "127.0.0.1:0:80", want: []*api.PortBinding{one("127.0.0.1", 0, 80, "tcp")}},
		{in: "0-1:80", err: "invalid host port: '0' is not a port from 1 to 65535"},
		{in: "8080:", err: "invalid container port: '' is not a port from 1 to 65535"},
		{in: "70000:80", err: "invalid host port: '70000' is not a port from 1 to 65535"},
		{in: "8080-8090:80/udp", want: []*api.PortBinding{{Protocol: "udp", ContainerPort: 80, HostPort: 8080, HostPortEnd: 8090}}},
		{in: "8080-8082:80-81", err: "the ranges 8080-8082 and 80-81 have different lengths"},
		{in: "81-80", err: "invalid container port: the range 81-80 ends before it begins"},
		{in: "1:2:3", err: "invalid IP address: 1"},
		{in: "1:2:3:4", err: "expected [[IP:]HOSTPORT:]PORT[/PROTOCOL], an IPv6 address in brackets"},
		{in: "[::1]8080", err: "expected [IPv6]:HOSTPORT:PORT"},
		{in: "80/icmp", err: "unknown protocol 'icmp': use tcp, udp or sctp"},
	})
}

func TestParseServicePort(t *testing.T) {
	testParse(t, parseServicePort, []parseCase[[]*api.PortConfig]{
		{in: "8080:80", want: []*api.PortConfig{{Protocol: "tcp", TargetPort: 80, PublishedPort: 8080}}},
		{in: "published=8080,target=80,protocol=udp,mode=host", want: []*api.PortConfig{{Protocol: "udp", TargetPort: 80, PublishedPort: 8080, Mode: api.PublishMode_HOST}}},
		{in: "target=80", want: []*api.PortConfig{{Protocol: "tcp", TargetPort: 80}}},
		{in: "127.0.0.1:8080:80", err: "a service's port is published on every node: leave out the address 127.0.0.1"},
		{in: "published=80", err: "missing target= (the port in the container)"},
		{in: "target=80,mode=vip", err: "unknown publish mode 'vip': use ingress or host"},
		{in: "target=80,ip=1.2.3.4", err: "unknown field 'ip': use target, published, protocol, mode, name"},
	})
}

// viaFlag parses through a flag's Set.
func viaFlag[T any](v interface{ Set(string) error }, get func() T) func(string) (T, error) {
	return func(s string) (T, error) {
		err := v.Set(s)
		return get(), err
	}
}

func TestParseUnits(t *testing.T) {
	var b bytesOpt
	testParse(t, viaFlag(&b, func() int64 { return int64(b) }), []parseCase[int64]{
		{in: "512m", want: 512 << 20}, {in: "1.5g", want: 3 << 29}, {in: "10", want: 10}, {in: "64KiB", want: 64 << 10},
		{in: "1x", err: "not an amount of bytes: use a number with b, k, m or g, for example 512m"},
		{in: "-1", err: "not an amount of bytes: use a number with b, k, m or g, for example 512m"},
	})
	var c cpuOpt
	testParse(t, viaFlag(&c, func() int64 { return int64(c) }), []parseCase[int64]{
		{in: "1.5", want: 15e8}, {in: "0.001", want: 1e6}, {in: "2", want: 2e9},
		{in: "x", err: "not a number of CPUs: use a decimal, for example 1.5"},
		{in: "-1", err: "not a number of CPUs: use a decimal, for example 1.5"},
		{in: "0.0000000001", err: "too precise: CPUs have at most nine decimals"},
	})
	var d durationOpt
	testParse(t, viaFlag(&d, func() int64 { return int64(d) }), []parseCase[int64]{
		{in: "10s", want: 10e9}, {in: "1m30s", want: 90e9},
		{in: "10", err: "not a duration: use a number with ms, s, m or h, for example 10s"},
		{in: "-1s", err: "not a duration: use a number with ms, s, m or h, for example 10s"},
	})
	var s swapOpt
	testParse(t, viaFlag(&s, func() int64 { return int64(s) }), []parseCase[int64]{{in: "-1", want: -1}, {in: "1k", want: 1024}})
}

func TestParseSmall(t *testing.T) {
	testParse(t, checkConstraint, []parseCase[string]{
		{in: "node.role==manager", want: "node.role==manager"}, {in: "node.labels.rack != a", want: "node.labels.rack != a"},
	})
	for _, bad := range []string{"node.role", "node.role=manager", "node.color==red", "==x"} {
		if _, err := checkConstraint(bad); err == nil {
			t.Errorf("constraint %q was taken", bad)
		}
	}
	testParse(t, checkPreference, []parseCase[string]{
		{in: "spread=node.labels.rack", want: "node.labels.rack"},
		{in: "pack=node.labels.rack", err: "unsupported placement preference 'pack': only spread is supported"},
		{in: "spread", err: "expected spread=KEY, for example spread=node.labels.rack"},
	})
	testParse(t, checkHost, []parseCase[string]{
		{in: "db:10.0.0.9", want: "db:10.0.0.9"}, {in: "db:::1", want: "db:::1"}, {in: "db=[::1]", want: "db:::1"},
		{in: "me:host-gateway", want: "me:host-gateway"},
		{in: "db", err: "expected HOST:IP"}, {in: "db:nine", err: "invalid IP address in add-host: 'nine'"},
	})
	testParse(t, checkCapability, []parseCase[string]{
		{in: "net_admin", want: "CAP_NET_ADMIN"}, {in: "CAP_SYS_TIME", want: "CAP_SYS_TIME"}, {in: "all", want: "ALL"},
		{in: "net-admin", err: "'net-admin' is not the name of a capability, for example NET_ADMIN"},
	})
	testParse(t, parseDevice, []parseCase[*api.Device]{
		{in: "/dev/fuse", want: &api.Device{HostPath: "/dev/fuse", ContainerPath: "/dev/fuse", Permissions: "rwm"}},
		{in: "/dev/a:/dev/b:r", want: &api.Device{HostPath: "/dev/a", ContainerPath: "/dev/b", Permissions: "r"}},
		{in: "/dev/a:rw", want: &api.Device{HostPath: "/dev/a", ContainerPath: "/dev/a", Permissions: "rw"}},
		{in: "/dev/a:/dev/b:x", err: "permissions 'x' are not made of r, w and m"},
		{in: "fuse", err: "paths of devices must be absolute: fuse"},
	})
	testParse(t, splitCommand, []parseCase[[]string]{
		{in: `a "b c" 'd e' f\ g ""`, want: []string{"a", "b c", "d e", "f g", ""}}, {in: "", want: nil},
		{in: `a "b`, err: `unfinished quote in "a \"b"`},
	})
}

func TestNetworkOpt(t *testing.T) {
	all := []string{"name", "alias", "ip", "ip6", "mac-address"}
	parse := func(s string) (*api.LocalNetworkAttachment, error) {
		o := networkOpt{fields: all}
		if err := o.Set(s); err != nil {
			return nil, err
		}
		return proto.CloneOf(o.values[0]), nil
	}
	testParse(t, parse, []parseCase[*api.LocalNetworkAttachment]{
		{in: "app", want: &api.LocalNetworkAttachment{Network: "app"}},
		{in: "name=app,alias=a,alias=b,ip=10.0.0.2,ip6=fd00::2", want: &api.LocalNetworkAttachment{Network: "app", Aliases: []string{"a", "b"}, Ip: "10.0.0.2", Ip6: "fd00::2"}},
		{in: "name=app,ip=fd00::2", err: "ip=fd00::2 is not an address of its family"},
		{in: "name=app,color=red", err: "unknown field 'color': use name, alias, ip, ip6, mac-address"},
		{in: "alias=a", err: "a network's name is missing"},
	})
}

func TestReadEnv(t *testing.T) {
	t.Setenv("SHOAL_TEST_SET", "here")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\nA=1\nB=two words\nSHOAL_TEST_SET\nSHOAL_TEST_UNSET\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := readEnv([]string{file}, []string{"A=2"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A=1", "B=two words", "SHOAL_TEST_SET=here", "A=2"}, got); diff != "" {
		t.Error(diff)
	}
	os.WriteFile(file, []byte("ok=1\nnot ok=2\n"), 0o644)
	if _, err := readEnv([]string{file}, nil); err == nil || err.Error() != file+":2: 'not ok' is not a name" {
		t.Errorf("got %v", err)
	}
}
