package spec

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// options are a container as the engine would resolve it.
func options(s *api.ContainerSpec) Options {
	return Options{
		ID: strings.Repeat("a", 64), Spec: s, RootPath: "/run/shoal/bundles/ID/rootfs", Hostname: "web",
		CgroupsPath: "/shoal/ID", Namespaces: Namespaces{Net: "/run/shoal/netns/ID"},
		Image: ocispec.ImageConfig{
			Entrypoint: []string{"/server"}, Cmd: []string{"--listen", ":80"}, Env: []string{"PATH=/bin", "A=image"}, WorkingDir: "/srv",
		},
		Seccomp: func(caps []string) (*specs.LinuxSeccomp, error) {
			return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: caps, Action: specs.ActAllow}}}, nil
		},
		CustomSeccomp: func(profile string, _ []string) (*specs.LinuxSeccomp, error) {
			return &specs.LinuxSeccomp{DefaultAction: specs.LinuxSeccompAction(profile)}, nil
		},
	}
}

func TestBuildGolden(t *testing.T) {
	plain := options(&api.ContainerSpec{})
	full := options(&api.ContainerSpec{
		Args: []string{"--debug"}, Env: []string{"A=own", "B=1"}, Tty: true, ReadOnly: true, Workdir: "/tmp/../var",
		CapAdd: []string{"net_admin"}, CapDrop: []string{"CAP_MKNOD"}, NoNewPrivileges: true, ShmSize: 1 << 20,
		Sysctls: map[string]string{"net.core.somaxconn": "512"}, OomScoreAdj: 100,
		Ulimits: []*api.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}, {Name: "core", Soft: -1, Hard: -1}},
		Limits:  &api.ContainerLimits{NanoCpus: 1_500_000_000, MemoryBytes: 64 << 20, Pids: 50, CpuShares: 512, CpusetCpus: "0-1"},
	})
	full.User = User{UID: 1000, GID: 1000, Groups: []uint32{5}, Home: "/home/app"}
	full.Mounts = []specs.Mount{
		{Destination: "/data/deep/er", Type: "bind", Source: "/b", Options: []string{"rbind", "ro"}},
		{Destination: "/data", Type: "bind", Source: "/a", Options: []string{"rbind"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs"},
	}
	privileged := options(&api.ContainerSpec{Privileged: true, PidMode: "host"})
	privileged.Namespaces = Namespaces{Net: "host", Pid: "host", IPC: "host", UTS: "host", Cgroup: "host"}
	privileged.Hostname = ""
	for name, o := range map[string]Options{"plain": plain, "full": full, "privileged": privileged} {
		t.Run(name, func(t *testing.T) {
			got, err := Build(o)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", got)
		})
	}
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got), run with -update if that is right:\n%s", name, diff)
	}
}

func TestCommand(t *testing.T) {
	image := ocispec.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}}
	for _, tc := range []struct {
		name string
		spec *api.ContainerSpec
		img  ocispec.ImageConfig
		want []string
	}{
		{"the image's", &api.ContainerSpec{}, image, []string{"/entry", "cmd"}},
		{"own arguments", &api.ContainerSpec{Args: []string{"x"}}, image, []string{"/entry", "x"}},
		{"own entrypoint discards CMD", &api.ContainerSpec{Entrypoint: []string{"sh"}}, image, []string{"sh"}},
		{"both", &api.ContainerSpec{Entrypoint: []string{"sh"}, Args: []string{"-c"}}, image, []string{"sh", "-c"}},
		{"emptied entrypoint", &api.ContainerSpec{EntrypointSet: true, Args: []string{"ls"}}, image, []string{"ls"}},
		{"emptied entrypoint as Docker's flag", &api.ContainerSpec{Entrypoint: []string{""}, Args: []string{"ls"}}, image, []string{"ls"}},
		{"nothing", &api.ContainerSpec{}, ocispec.ImageConfig{}, nil},
		{"emptied, nothing left", &api.ContainerSpec{EntrypointSet: true}, image, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Command(tc.spec, tc.img)
			if (err != nil) != (tc.want == nil) || !slices.Equal(got, tc.want) {
				t.Errorf("Command = %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestEnv(t *testing.T) {
	s := &api.ContainerSpec{Tty: true, Env: []string{"TERM=vt100", "GONE", "NEW=1"}}
	got := Env(s, ocispec.ImageConfig{Env: []string{"PATH=/opt", "GONE=x"}}, "host")
	want := []string{"PATH=/opt", "HOSTNAME=host", "TERM=vt100", "NEW=1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCapabilities(t *testing.T) {
	for _, tc := range []struct {
		name        string
		privileged  bool
		add, drop   []string
		bounding    []string
		has, hasNot []string
		want        int
		wantErr     bool
	}{
		{name: "default", want: 14, has: []string{"CAP_CHOWN"}, hasNot: []string{"CAP_SYS_ADMIN"}},
		{name: "add and drop", add: []string{"sys_admin"}, drop: []string{"CAP_KILL"}, want: 14, has: []string{"CAP_SYS_ADMIN"}, hasNot: []string{"CAP_KILL"}},
		{name: "drop all but one", add: []string{"CHOWN"}, drop: []string{"ALL"}, want: 1, has: []string{"CAP_CHOWN"}},
		{name: "add all but one", add: []string{"all"}, drop: []string{"SYS_BOOT"}, want: 40, hasNot: []string{"CAP_SYS_BOOT"}},
		{name: "privileged", privileged: true, want: 41},
		{name: "privileged daemon lacks one", privileged: true, bounding: []string{"CAP_CHOWN"}, want: 1},
		{name: "unknown", add: []string{"FLY"}, wantErr: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := capabilities(tc.privileged, tc.add, tc.drop, tc.bounding)
			if (err != nil) != tc.wantErr {
				t.Fatal(err)
			}
			if len(got) != tc.want {
				t.Errorf("got %d capabilities, want %d: %v", len(got), tc.want, got)
			}
			for _, c := range tc.has {
				if !slices.Contains(got, c) {
					t.Errorf("%s is missing", c)
				}
			}
			for _, c := range tc.hasNot {
				if slices.Contains(got, c) {
					t.Errorf("%s is there", c)
				}
			}
		})
	}
}

// TestBuildRefuses checks that what cannot be done is an error that names the field.
func TestBuildRefuses(t *testing.T) {
	host := func(o *Options) { o.Namespaces.Net = "host" }
	for name, tc := range map[string]struct {
		spec   *api.ContainerSpec
		change func(*Options)
		want   string
	}{
		"sysctl of the host":         {&api.ContainerSpec{Sysctls: map[string]string{"vm.swappiness": "1"}}, nil, "vm.swappiness"},
		"net sysctl without own net": {&api.ContainerSpec{Sysctls: map[string]string{"net.core.somaxconn": "1"}}, host, "network namespace"},
		"tiny memory":                {&api.ContainerSpec{Limits: &api.ContainerLimits{MemoryBytes: 1 << 20}}, nil, "--memory 1048576"},
		"swap below memory":          {&api.ContainerSpec{Limits: &api.ContainerLimits{MemoryBytes: 8 << 20, MemorySwap: 7 << 20}}, nil, "--memory-swap"},
		"cpus and quota":             {&api.ContainerSpec{Limits: &api.ContainerLimits{NanoCpus: 1e9, CpuQuota: 5}}, nil, "--cpus"},
		"quota below the kernel's":   {&api.ContainerSpec{Limits: &api.ContainerLimits{CpuQuota: 999}}, nil, "--cpu-quota"},
		"period below the kernel's":  {&api.ContainerSpec{Limits: &api.ContainerLimits{CpuPeriod: 999}}, nil, "--cpu-period"},
		"period above the kernel's":  {&api.ContainerSpec{Limits: &api.ContainerLimits{CpuPeriod: 1_000_001}}, nil, "--cpu-period"},
		"relative directory":         {&api.ContainerSpec{Workdir: "tmp"}, nil, "tmp"},
		"long hostname":              {&api.ContainerSpec{Hostname: strings.Repeat("a", 65)}, nil, "hostname"},
		"ulimit":                     {&api.ContainerSpec{Ulimits: []*api.Ulimit{{Name: "files"}}}, nil, "files"},
		"ulimit soft above hard":     {&api.ContainerSpec{Ulimits: []*api.Ulimit{{Name: "nofile", Soft: 2, Hard: 1}}}, nil, "nofile"},
		"seccomp":                    {&api.ContainerSpec{Seccomp: "sometimes"}, nil, "sometimes"},
		"clock":                      {&api.ContainerSpec{TimeOffsets: map[string]string{"realtime": "1"}}, nil, "realtime"},
		"capability":                 {&api.ContainerSpec{CapDrop: []string{"X"}}, nil, "--cap-drop"},
		"oom score":                  {&api.ContainerSpec{OomScoreAdj: 2000}, nil, "--oom-score-adj"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(tc.spec)
			if tc.change != nil {
				tc.change(&o)
			}
			_, err := Build(o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Build = %v, want an error about %q", err, tc.want)
			}
		})
	}
}

func TestTimeOffsets(t *testing.T) {
	got, err := timeOffsets(map[string]string{"monotonic": "-1.25", "boottime": "86400"})
	want := map[string]specs.LinuxTimeOffset{"monotonic": {Secs: -2, Nanosecs: 750000000}, "boottime": {Secs: 86400}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("timeOffsets = %v, %v; want %v", got, err, want)
	}
}

func TestExec(t *testing.T) {
	container, err := Build(options(&api.ContainerSpec{CapDrop: []string{"ALL"}, NoNewPrivileges: true}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Exec(container, &api.ExecOpen{Command: []string{"id"}, Tty: true, Env: []string{"X=1"}, Workdir: "/tmp"}, &User{UID: 7, Home: "/h"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.User.UID != 7 || p.Cwd != "/tmp" || !p.Terminal || !p.NoNewPrivileges || len(p.Capabilities.Bounding) != 0 {
		t.Errorf("Exec = %+v", p)
	}
	for _, want := range []string{"X=1", "HOME=/h", "TERM=xterm", "A=image"} {
		if !slices.Contains(p.Env, want) {
			t.Errorf("%s is missing in %q", want, p.Env)
		}
	}
	if p, err = Exec(container, &api.ExecOpen{Command: []string{"id"}, Privileged: true}, nil, nil); err != nil || len(p.Capabilities.Effective) != 41 {
		t.Errorf("privileged Exec = %+v, %v", p, err)
	}
	if _, err := Exec(container, &api.ExecOpen{}, nil, nil); err == nil {
		t.Error("Exec without a command is not refused")
	}
}
