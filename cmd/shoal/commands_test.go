package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestErrors: every error is one line that says what to do, with Docker's exit code.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		args string
		want string
		code int
	}{
		{"quux", "unknown command 'shoal quux' (see 'shoal --help')", 1},
		{"swarm init", "unknown command 'shoal swarm': use 'shoal cluster' (see 'shoal --help')", 1},
		{"push web", "unknown command 'shoal push': build and push with another tool, then pull or load the image here (see 'shoal --help')", 1},
		{"service crate", "unknown command 'shoal service crate': did you mean 'create'? (see 'shoal service --help')", 1},
		{"run", "'shoal run' requires at least 1 argument (see 'shoal run --help')", 1},
		{"run --foo x", "unknown flag: --foo (see 'shoal run --help')", 125},
		{"service rm", "'shoal service rm' requires at least 1 argument (see 'shoal service rm --help')", 1},
		{"service ls x", "'shoal service ls' accepts no arguments (see 'shoal service ls --help')", 1},
		{"service create --mount bad x", `invalid argument "bad" for "--mount" flag: invalid field 'bad' must be a key=value pair (see 'shoal service create --help')`, 125},
		{"service create --limit-cpu x y", `invalid argument "x" for "--limit-cpu" flag: not a number of CPUs: use a decimal, for example 1.5 (see 'shoal service create --help')`, 125},
		{"service create --mode glob y", `invalid argument "glob" for "--mode" flag: use one of replicated, global (see 'shoal service create --help')`, 125},
		{"service create -p 127.0.0.1:80:80 y", `invalid argument "127.0.0.1:80:80" for "-p, --publish" flag: a service's port is published on every node: leave out the address 127.0.0.1 (see 'shoal service create --help')`, 125},
		{"service create --mode global --replicas 2 y", "replicas can only be used with replicated mode", 1},
		{"service ls -f foo", `invalid argument "foo" for "-f, --filter" flag: bad format of filter (expected name=value) (see 'shoal service ls --help')`, 125},
		{"service ls -f foo=bar", `invalid argument "foo=bar" for "-f, --filter" flag: unknown filter "foo": use one of id, label, mode, name (see 'shoal service ls --help')`, 125},
		{"service ls --format {{.Nope}}", "--format: there is no field .Nope, use one of .ID .Name .Mode .Replicas .Image .Ports", 1},
		{"service ls --format {{.ID", "--format: 1: unclosed action", 1},
		{"service inspect --format {{.Spec.Nope}} web", "--format: there is no field .Nope", 1},
		{"service inspect gone", "no such service: gone", 1},
		{"service scale web=x", "invalid replicas value 'x' for web: use a whole number from 0 up", 1},
		{"service scale agent=2", "agent: scale can only be used with replicated mode", 1},
		{"service update --rollback --image x web", "other options cannot be combined with --rollback: leave out --image (see 'shoal service update --help')", 1},
		{"service logs gone", "no such task or service: gone", 1},
		{"run -p abc x", "invalid port 'abc': invalid container port: 'abc' is not a port from 1 to 65535", 125},
		{"run -v a:b:c:d x", "invalid volume 'a:b:c:d': use [SOURCE:]TARGET[:OPTIONS]", 125},
		{"run -m 1x x", `invalid argument "1x" for "-m, --memory" flag: not an amount of bytes: use a number with b, k, m or g, for example 512m (see 'shoal run --help')`, 125},
		{"run --restart sometimes x", "invalid restart policy 'sometimes': use no, on-failure[:MAX], always or unless-stopped", 125},
		{"run --rm --restart always x", "conflicting options: cannot specify both --restart and --rm", 125},
		{"run -it x", "the input device is not a terminal: leave out -t, or -i", 1},
		{"run --detach-keys nope x", "invalid detach keys 'nope': use single characters and ctrl-X with commas between them", 125},
		{"run --network host --network app x", "network host cannot be combined with others", 125},
		{"create --pull never --platform linux/arm64 web:1", "image web:1 is for linux/amd64, not for linux/arm64: pull it for that platform", 1},
		{"create --cidfile /nowhere/id x", "make the container ID file: open /nowhere/id: no such file or directory", 1},
		{"ps --filter publish=web", "filter publish=web: use PORT[-PORT][/PROTOCOL] of the host", 1},
		{"logs --since yesterday web", `invalid value "yesterday" for --since: use a time such as 2026-01-02T13:23:37Z or a duration such as 42m`, 1},
		{"node update one", "nothing to change: give --availability, --role, --label-add or --label-rm (see 'shoal node update --help')", 1},
		{"node update --availability off one", `invalid argument "off" for "--availability" flag: use one of active, pause, drain (see 'shoal node update --help')`, 125},
		{"node update --label-rm nope one", "node one has no label nope", 1},
		{"network create --subnet 10.0.0.1/24 n", "invalid subnet '10.0.0.1/24': it should be 10.0.0.0/24", 1},
		{"network create --gateway 10.9.0.1 --subnet 10.0.0.0/24 n", "no matching subnet for gateway 10.9.0.1", 1},
		{"network create --aux-address r=10.9.0.1 --subnet 10.0.0.0/24 n", "no matching subnet for aux-address 10.9.0.1", 1},
		{"network create -d overlay --aux-address r=10.0.0.9 --subnet 10.0.0.0/24 n", "--aux-address is for networks of this node: on an overlay network nothing but Shoal gives addresses", 1},
		{"network connect app web", "network app is the cluster's: services are on it, containers by themselves are not", 1},
		{"network connect --ip ::1 nope web", "ip=::1 is not an address of its family", 1},
		{"network disconnect nope web", "no such network: nope (see 'shoal network ls')", 1},
		{"network rm nope", "no such network: nope (see 'shoal network ls')", 1},
		{"network rm app", "network overlay1 is used by service web: remove that first", 1},
		{"volume inspect nope", "no such volume: nope (see 'shoal volume ls')", 1},
		{"cluster join 10.0.0.1", "--token is required: get it with 'shoal cluster token worker' on a manager (see 'shoal cluster join --help')", 1},
		{"cluster leave", "this node is the last manager: use --force to lose the cluster", 1},
		{"cluster token boss", "unknown role boss: use worker or manager (see 'shoal cluster token --help')", 1},
		{"inspect nope", "no such object: nope", 1},
		{"import http://x/y", "importing from a URL is not supported: download http://x/y and import the file", 1},
		{"load", "the archive is empty", 1},
		{"pull gone", "no such image: gone in the registry", 1},
		{"-H foo ps", `invalid host "foo": use unix:///PATH or HOST:PORT`, 1},
		{"-H 10.0.0.1:2377 ps", "10.0.0.1:2377 is reached over mutual TLS: give --tlscacert, --tlscert and --tlskey", 1},
		{"-H unix:///nowhere.sock ps", "cannot connect to the Shoal daemon at unix:///nowhere.sock: is it running? start it with 'shoal daemon' or set SHOAL_HOST", 1},
		{"-H unix:///nowhere.sock run x", "cannot connect to the Shoal daemon at unix:///nowhere.sock: is it running? start it with 'shoal daemon' or set SHOAL_HOST", 125},
		{"completion tcsh", "unknown shell tcsh: use bash, zsh or fish (see 'shoal completion --help')", 1},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			f := newFake(t)
			populate(f)
			r := f.run(t, "", strings.Fields(tc.args)...)
			want := "shoal: " + tc.want + "\n"
			got := r.err
			if i := strings.LastIndex(strings.TrimSuffix(got, "\n"), "\n"); i >= 0 {
				got = got[i+1:] // a line of progress may stand before it
			}
			if got != want || r.code != tc.code {
				t.Errorf("exit code %d, want %d\n got %q\nwant %q", r.code, tc.code, r.err, want)
			}
		})
	}
}

// TestSizeOnRequest: sizes take the daemon some time, and a format that shows them asks for them.
func TestSizeOnRequest(t *testing.T) {
	for format, want := range map[string]bool{"{{.Names}}": false, "{{.Names}} {{.Size}}": true} {
		f := newFake(t)
		f.run(t, "", "ps", "--format", format)
		if got := f.containers.listed.GetSize(); got != want {
			t.Errorf("--format %s asks for sizes: %v", format, got)
		}
	}
}

func TestStopForEver(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "stop", "-t", "-1", "web"); r.code != 0 || !slices.Contains(f.containers.calls, "stop web -1s") {
		t.Errorf("%+v %v", r, f.containers.calls)
	}
	if r := f.run(t, "", "stop", "-t", "-2", "web"); r.code == 0 {
		t.Error("-2 seconds were taken")
	}
}

// TestReaderGone: "shoal run ... | head -1" has nothing to say when head has gone.
func TestReaderGone(t *testing.T) {
	var said bytes.Buffer
	c := &cli{err: &said}
	gone := runError(&fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE})
	if code := c.report(gone); code != 141 || said.Len() > 0 {
		t.Errorf("code %d, said %q", code, said.String())
	}
	if code := c.report(runError(&fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC})); code != 125 || said.Len() == 0 {
		t.Errorf("a full disk: code %d, said %q", code, said.String())
	}
}

// TestNotManager: a daemon without the managers' service is told apart by what it is.
func TestNotManager(t *testing.T) {
	f := newFake(t, true)
	f.local.info.Cluster.Role = api.NodeRole_WORKER
	r := f.run(t, "", "service", "ls")
	if want := "shoal: this node is a worker: run this on a manager, for example -H 10.0.0.1:2377\n"; r.err != want || r.code != 1 {
		t.Errorf("got %q, exit code %d", r.err, r.code)
	}
	f.local.info.Cluster = &api.ClusterInfo{}
	r = f.run(t, "", "node", "ls")
	if want := "shoal: this node is not in a cluster: run 'shoal cluster init' or 'shoal cluster join'\n"; r.err != want {
		t.Errorf("got %q", r.err)
	}
	if r = f.run(t, "", "network", "ls", "-q"); r.code != 0 {
		t.Errorf("a node alone has networks too, got %q", r.err)
	}
}

// TestElection: reads wait for a leader, writes report that there is none.
func TestElection(t *testing.T) {
	f := newFake(t)
	populate(f)
	f.control.failReads = 2
	if r := f.run(t, "", "service", "ls", "-q"); r.code != 0 {
		t.Errorf("read during an election: %q", r.err)
	}
	f.control.fail = status.Error(codes.Unavailable, "no leader: 1 of 3 managers answer")
	r := f.run(t, "", "service", "create", "x")
	if r.err != "shoal: no leader: 1 of 3 managers answer\n" || r.code != 1 {
		t.Errorf("write without a leader: %q", r.err)
	}
}

func TestServiceCreate(t *testing.T) {
	f := newFake(t)
	r := f.run(t, "", "service", "create", "-d", "--name", "web", "--replicas", "3", "--network", "name=app,alias=www", "-p", "8080:80",
		"--publish", "published=9000,target=90,protocol=udp,mode=host", "-e", "A=1", "--label", "l=1", "--container-label", "c=2",
		"--mount", "type=volume,source=data,target=/data", "--limit-cpu", "1.5", "--limit-memory", "512m", "--reserve-memory", "64m",
		"--constraint", "node.role==worker", "--placement-pref", "spread=node.labels.rack", "--restart-condition", "on-failure",
		"--update-parallelism", "2", "--stop-grace-period", "3s", "--cap-add", "net_admin", "--read-only", "--init", "--host", "db:10.0.0.9",
		"web:1", "serve", "--flag")
	if r.code != 0 || r.out != "service9\n" {
		t.Fatalf("out %q, err %q", r.out, r.err)
	}
	golden(t, "create_spec", protoText(t, f.control.created))
}

// A zero that was asked for must not become the default: the daemon refuses what cannot be, and is told.
func TestClusterInitZeros(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "cluster", "init", "--task-history-limit", "0"); r.code == 0 || !strings.Contains(r.err, "--task-history-limit 0 is out of range: at least 1") {
		t.Errorf("got %+v", r)
	}
	if r := f.run(t, "", "cluster", "init", "--lost-after", "0s"); r.code != 0 {
		t.Fatal(r.err)
	}
	if s := f.local.init.Spec; s.LostAfter == nil || s.LostAfter.AsDuration() != 0 || s.NodeCertExpiry != nil {
		t.Errorf("the daemon was told %v", s)
	}
}

// What the help calls the default must be so for a service that was given no update flag at all.
func TestServiceCreateDefaultOrder(t *testing.T) {
	for _, tc := range []struct {
		flag, value string
		want        api.UpdateConfig_Order
	}{
		{"--label", "a=b", api.UpdateConfig_START_FIRST},
		{"--publish", "published=90,target=90,mode=host", api.UpdateConfig_STOP_FIRST},
		{"--mount", "type=volume,source=data,target=/data", api.UpdateConfig_STOP_FIRST},
		{"--replicas-max-per-node", "1", api.UpdateConfig_STOP_FIRST},
	} {
		f := newFake(t)
		if r := f.run(t, "", "service", "create", "-d", tc.flag, tc.value, "web:1"); r.code != 0 {
			t.Fatal(r.err)
		}
		for what, c := range map[string]*api.UpdateConfig{"update": f.control.created.Update, "rollback": f.control.created.Rollback} {
			if c == nil || c.Order != tc.want || c.Parallelism != 1 {
				t.Errorf("with %s: %s is %v, want %v", tc.flag, what, c, tc.want)
			}
		}
	}
}

func TestServiceUpdate(t *testing.T) {
	f := newFake(t)
	populate(f)
	f.control.conflicts = 1 // somebody else is faster once
	r := f.run(t, "", "service", "update", "-d", "--image", "web:2", "--env-add", "A=2", "--env-add", "B=3", "--label-rm", "tier",
		"--constraint-rm", "node.role == worker", "--constraint-add", "node.role==manager", "--publish-rm", "80", "--publish-add", "443:443",
		"--network-rm", "app", "--network-add", "other", "--mount-rm", "/data", "--limit-memory", "1g", "--replicas", "5", "--force",
		"--args", `serve "two words"`, "--rollback-order", "stop-first", "web")
	if r.code != 0 || r.out != "web\n" {
		t.Fatalf("out %q, err %q", r.out, r.err)
	}
	if f.control.updated.Version != 7 {
		t.Errorf("update names version %d, want the one read: 7", f.control.updated.Version)
	}
	golden(t, "update_spec", protoText(t, f.control.updated.Spec))
}

func TestMany(t *testing.T) {
	f := newFake(t)
	r := f.run(t, "", "stop", "-t", "3", "a", "gone", "b")
	if r.out != "a\nb\n" || r.err != "shoal: no such container: gone\n" || r.code != 1 {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff([]string{"stop a 3s", "stop b 3s"}, f.containers.calls); diff != "" {
		t.Error(diff)
	}
	if r := f.run(t, "", "wait", "a", "b"); r.out != "3\n3\n" {
		t.Errorf("wait: %+v", r)
	}
	if r := f.run(t, "", "rm", "-f", "gone"); r.code != 0 {
		t.Errorf("rm -f of what is not there: %+v", r)
	}
}

func TestImages(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	tar := filepath.Join(dir, "in.tar")
	content := strings.Repeat("x", uploadChunk+10)
	if err := os.WriteFile(tar, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := f.run(t, "", "load", "-i", tar); r.out != "Loaded image: web:1\n" || string(f.images.uploaded) != content {
		t.Errorf("load: %+v, %d bytes arrived", r, len(f.images.uploaded))
	}
	f.images.uploaded, f.images.upload = nil, nil
	r := f.run(t, "rootfs", "import", "-c", "CMD [\"/sh\"]", "-", "base:1")
	if r.out != "sha256:"+strings.Repeat("2", 64)+"\n" || f.images.upload.Ref != "base:1" || string(f.images.uploaded) != "rootfs" {
		t.Errorf("import: %+v, first message %v", r, f.images.upload)
	}
	if r := f.run(t, "", "save", "web"); r.out != "archive" {
		t.Errorf("save: %+v", r)
	}
	out := filepath.Join(dir, "out.tar")
	if r := f.run(t, "", "save", "-o", out, "gone"); r.code != 1 {
		t.Errorf("save of what is not there: %+v", r)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("a failed save left %v", left)
	}
	if r := f.run(t, "", "save", "-o", out, "web"); r.code != 0 {
		t.Errorf("save: %+v", r)
	}
	if b, _ := os.ReadFile(out); string(b) != "archive" {
		t.Errorf("saved %q", b)
	}
	want := "Using default tag: latest\nlatest: Pulling from web\naaa: Downloading\naaa: Pull complete\nDigest: sha256:dd\ndocker.io/library/web:latest\n"
	if r := f.run(t, "", "pull", "web"); r.out != want {
		t.Errorf("pull: %q", r.out)
	}
	if r := f.run(t, "", "pull", "-q", "web"); r.out != "docker.io/library/web:latest\n" {
		t.Errorf("pull -q: %q", r.out)
	}
	if r := f.run(t, "", "rmi", "web"); r.out != "Untagged: web:latest\nDeleted: sha256:1\n" {
		t.Errorf("rmi: %+v", r)
	}
}

func TestNetworks(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "network", "create", "-d", "overlay", "--subnet", "10.1.0.0/24,fd01::/64", "--gateway", "10.1.0.9", "app"); r.out != "overlay9\n" {
		t.Fatalf("%+v", r)
	}
	want := &api.NetworkSpec{Name: "app", Driver: "overlay", Ipv6: true, Ipam: []*api.IPAMConfig{{Subnet: "10.1.0.0/24", Gateway: "10.1.0.9"}, {Subnet: "fd01::/64"}}}
	if diff := cmp.Diff(want, f.control.networks[0].Spec, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if r := f.run(t, "", "network", "create", "mine"); r.out != strings.Repeat("b", 64)+"\n" {
		t.Fatalf("%+v", r)
	}
	for _, args := range [][]string{
		{"connect", "--ip", "10.2.0.9", "--ip6", "fd00::9", "--alias", "db", "--alias", "sql", "--link-local-ip", "169.254.1.1", "mine", "web"},
		{"disconnect", "-f", "mine", "web"},
	} {
		if r := f.run(t, "", append([]string{"network"}, args...)...); r.code != 0 || r.out != "" {
			t.Errorf("network %v: %v", args, r)
		}
	}
	wantCalls := []string{"network connect bbbbbbbbbbbb web 10.2.0.9 fd00::9 [db sql] [169.254.1.1]", "network disconnect bbbbbbbbbbbb web true"}
	if diff := cmp.Diff(wantCalls, f.containers.calls); diff != "" {
		t.Error(diff)
	}
	f.containers.calls = nil
	if r := f.run(t, "", "network", "rm", "mine"); r.out != "mine\n" || f.containers.calls[0] != "network rm bbbbbbbbbbbb" {
		t.Errorf("%+v %v", r, f.containers.calls)
	}
}

func TestNodeRoles(t *testing.T) {
	f := newFake(t)
	populate(f)
	r := f.run(t, "", "node", "promote", "two", "one", "three")
	want := "Node two promoted to a manager in the cluster.\nNode one is already a manager.\n"
	if r.out != want || r.err != "shoal: no such node: three\n" || r.code != 1 {
		t.Errorf("%+v", r)
	}
	if got := f.control.nodes[1].Spec; got.Role != api.NodeRole_MANAGER || got.Availability != api.NodeSpec_DRAIN {
		t.Errorf("promote changed more than the role: %v", got)
	}
}

func TestServiceLogs(t *testing.T) {
	f := newFake(t)
	populate(f)
	f.control.logs = []*api.ServiceLogsMessage{
		{TaskId: "task1", NodeId: "id-one", Lines: []*api.LogLine{{Data: []byte("hello\n")}, {Data: []byte("oops\n"), Stderr: true}}},
		{Warning: "node two is down: its lines are missing"},
	}
	r := f.run(t, "", "service", "logs", "web")
	if want := "web.1.task1@one       | hello\n"; r.out != want {
		t.Errorf("out %q, want %q", r.out, want)
	}
	if want := "web.1.task1@one       | oops\nWARNING: node two is down: its lines are missing\n"; r.err != want {
		t.Errorf("err %q, want %q", r.err, want)
	}
	if r := f.run(t, "", "service", "logs", "--raw", "web"); r.out != "hello\n" {
		t.Errorf("raw: %q", r.out)
	}
}
