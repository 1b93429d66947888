//go:build linux

package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/manager/raft"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

const inNamespace = "SHOAL_NODE_TEST_NETNS"

// raftTick names how long Raft waits, on a machine that is too slow for the default: there leaders would not stay leaders.
const raftTick = "SHOAL_TEST_RAFT_TICK"

// TestMain runs the tests in a network namespace of their own, where the ports are free and addresses can be had.
func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Println("SKIPPED: the tests of package node need root, for a network namespace of their own")
		return
	}
	if os.Getenv(inNamespace) != "" {
		if err := addAddresses(); err != nil {
			fmt.Println("prepare the network namespace:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Println("tests in a network namespace:", err)
		os.Exit(1)
	}
}

// addAddresses gives the loopback 10.90.0.1 to 10.90.0.9, one for each node of a test.
func addAddresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for i := range 9 {
		a, err := netlink.ParseAddr(fmt.Sprintf("10.90.0.%d/32", i+1))
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(lo, a); err != nil {
			return err
		}
	}
	return nil
}

// containers is an engine that has containers and does nothing with them. It outlives a daemon, as shims do.
type containers struct {
	container.Engine
	mu   sync.Mutex
	rows map[string]*api.Container
}

func (c *containers) Tasks(context.Context) ([]*api.Container, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.rows)), nil
}

// of makes a container of a task.
func (c *containers) of(task string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows["of-"+task] = &api.Container{Id: "of-" + task, TaskId: task}
}

func (c *containers) OfTask(_ context.Context, task string) (*api.Container, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows["of-"+task], nil
}

func (c *containers) Get(_ context.Context, id string) (*api.Container, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows[id], nil
}

func (c *containers) Stop(context.Context, string) error { return nil }
func (c *containers) Kill(context.Context, string) error { return nil }

func (c *containers) Remove(_ context.Context, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.rows, id)
	return nil
}

// wires is an overlay without a kernel.
type wires struct {
	mu      sync.Mutex
	down    map[string]bool
	cleaned int
}

func (w *wires) Attach(context.Context, overlay.Attachment) error { return nil }
func (w *wires) Detach(context.Context, string) error             { return nil }
func (w *wires) Set(overlay.Desired)                              {}
func (w *wires) Adopt([]string)                                   {}
func (w *wires) Run(ctx context.Context) error                    { <-ctx.Done(); return nil }
func (w *wires) Check(context.Context) ([]string, error)          { return nil, nil }
func (w *wires) Close()                                           {}

func (w *wires) SetDown(nodes map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = nodes
}

func (w *wires) isDown(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down[id]
}

func (w *wires) cleanups() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cleaned
}

func (w *wires) Cleanup(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleaned++
	return nil
}

// host is a machine of a test: its disk, its address and, while it is on, its daemon.
type host struct {
	t     *testing.T
	name  string
	addr  string
	dir   string
	tasks *containers
	wires *wires
	flags Config // more of them

	node   *Node
	api    *client.Client
	cancel context.CancelFunc
	done   chan error
}

// newHost is host number i, from 1, with its daemon running.
func newHost(t *testing.T, i int) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") // t.TempDir is too long for a socket
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{
		t: t, name: fmt.Sprintf("n%d", i), addr: fmt.Sprintf("10.90.0.%d", i), dir: dir,
		tasks: &containers{rows: map[string]*api.Container{}}, wires: &wires{},
	}
	h.start()
	return h
}

// tick is how long Raft waits: what the environment says, or more than usual where many want each processor. With less, leaders
// would not stay leaders there, and nothing but that would be tested.
func tick() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(raftTick)); err == nil {
		return d
	}
	text, _ := os.ReadFile("/proc/loadavg")
	var load float64
	fmt.Sscan(string(text), &load)
	const easy = 3 // that want a processor
	factor := min(8, load/float64(runtime.NumCPU())/easy)
	return time.Duration(max(1, factor) * float64(raft.DefaultTick))
}

func newHosts(t *testing.T, n int) (all []*host) {
	t.Helper()
	for i := range n {
		all = append(all, newHost(t, i+1))
	}
	return all
}

func (h *host) config() Config {
	c := h.flags
	c.DataDir, c.RunDir, c.Hostname = filepath.Join(h.dir, "data"), filepath.Join(h.dir, "run"), h.name
	c.GossipPort, c.DataPathPort, c.Version = 7946, 4789, "test"
	c.RaftTick = tick()
	c.Logger = slog.New(slog.NewTextHandler(testWriter{h.t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("host", h.name)
	if c.AdvertiseAddr == "" {
		c.AdvertiseAddr = h.addr
	}
	return c
}

// start is the daemon's start without the engine.
func (h *host) start() {
	h.t.Helper()
	cfg := h.config()
	unlock, err := prepare(cfg)
	check(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	n := newNode(ctx, cfg)
	n.tasks = h.tasks
	n.openOverlay = func(overlay.Config) (fabric, error) { return h.wires, nil }
	l, err := listenUnix(filepath.Join(cfg.RunDir, "shoal.sock"))
	check(h.t, err)
	c, err := client.New("unix://"+l.Addr().String(), client.Options{})
	check(h.t, err)
	h.node, h.api, h.cancel, h.done = n, c, cancel, make(chan error, 1)
	done := h.done
	go func() {
		err := n.serve(ctx, n.localServer(), l)
		unlock()
		done <- err
	}()
	h.t.Cleanup(h.stop)
}

// stop ends the daemon; nobody is told. Twice is once.
func (h *host) stop() {
	h.cancel()
	select {
	case err := <-h.done:
		h.done <- err
		h.api.Close()
	case <-time.After(patience):
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		h.t.Errorf("daemon of %s did not end", h.name)
	}
}

func (h *host) restart() {
	h.t.Helper()
	h.stop()
	h.start()
}

// patience is how long a test waits for what takes a second at most on an idle machine.
const patience = 4 * time.Minute

func (h *host) init() *api.InitClusterResponse {
	h.t.Helper()
	r, err := h.api.Local.InitCluster(h.context(), &api.InitClusterRequest{})
	check(h.t, err)
	return r
}

func (h *host) join(to *host, token string) {
	h.t.Helper()
	settled(h.t, h.name+" joins", func() error {
		_, err := h.tryJoin(to.addr, token)
		if err != nil && strings.HasPrefix(err.Error(), "cannot join: ") { // not in time: nothing is left of it
			return status.Error(codes.Unavailable, err.Error())
		}
		return err
	})
}

// network makes one.
func (h *host) network(name string) {
	h.t.Helper()
	tried := false
	settled(h.t, "network "+name, func() error {
		_, err := h.api.Control.CreateNetwork(h.context(), &api.CreateNetworkRequest{Spec: &api.NetworkSpec{Name: name, Driver: "overlay"}})
		if tried && client.CodeOf(err) == codes.AlreadyExists {
			return nil
		}
		tried = true
		return err
	})
}

// settled repeats what may be done twice until it was acknowledged: on a busy machine the office of the leader changes hands at any
// time.
func settled(t *testing.T, what string, do func() error) {
	t.Helper()
	eventually(t, what, func() bool {
		err := do()
		if err != nil && !officeChanged(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// officeChanged: nobody led for too long, or whoever did not long enough.
func officeChanged(err error) bool {
	return client.CodeOf(err) == codes.Unavailable || strings.Contains(err.Error(), "may or may not have been made")
}

func (h *host) tryJoin(remote, token string) (*api.JoinClusterResponse, error) {
	return h.api.Local.JoinCluster(h.context(), &api.JoinClusterRequest{Remote: remote, Token: token})
}

func (h *host) leave(force bool) error {
	_, err := h.api.Local.LeaveCluster(h.context(), &api.LeaveClusterRequest{Force: force})
	return err
}

// context is enough for one request.
func (h *host) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	return ctx
}

func (h *host) info() *api.ClusterInfo { return (&local{node: h.node}).cluster(context.Background()) }

func (h *host) id() string { return h.info().NodeId }

// row is a node as this host's manager shows it, nil if it does not.
func (h *host) row(id string) *api.Node {
	r, err := h.api.Control.GetNode(h.context(), &api.GetNodeRequest{Ref: id})
	if err != nil {
		return nil
	}
	return r.Node
}

// setRole is what 'shoal node promote' and 'demote' do, again if the row was written to meanwhile.
func (h *host) setRole(id string, role api.NodeRole) error {
	began := time.Now()
	for {
		n := h.row(id)
		if n == nil {
			return fmt.Errorf("no node %s", id)
		}
		n.Spec.Role = role
		_, err := h.api.Control.UpdateNode(h.context(), &api.UpdateNodeRequest{Ref: id, Spec: n.Spec, Version: n.Meta.Version})
		switch {
		case err == nil:
			return nil
		case !strings.Contains(err.Error(), "changed by somebody else") && !officeChanged(err):
			return err
		case time.Since(began) > patience:
			return err
		}
	}
}

// managers is a condition: this host's manager sees so many, and all answer.
func (h *host) managers(n int32) func() bool {
	return func() bool {
		i := h.info()
		return i.Managers == n && i.ManagersReachable == n && i.LeaderId != ""
	}
}

func (h *host) state(s api.ClusterInfo_State) func() bool {
	return func() bool { return h.info().State == s }
}

// leftovers are the files of a membership that are still there.
func (h *host) leftovers() (left []string) {
	for _, p := range h.node.leftovers() {
		if _, err := os.Lstat(p); err == nil {
			left = append(left, filepath.Base(p))
		}
	}
	return left
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that an error says what it should, in one line.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "rpc error") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got error %v, want one with %q", err, want)
	}
}

// eventually polls, because sockets, Raft and gossip are real.
func eventually(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > patience {
			t.Fatalf("waited %v for: %s", patience, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// testWriter sends logs through t, and drops what comes after the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func take(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }
