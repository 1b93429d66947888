package allocator

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// rig is a store with a cluster row and an Allocator running on it.
type rig struct {
	t *testing.T
	s *store.Store
}

func newRig(t *testing.T, spec *api.ClusterSpec) *rig {
	t.Helper()
	r := &rig{t, store.New(nil)}
	r.update(func(tx *store.Tx) error {
		return tx.SetCluster(&api.Cluster{Id: "c", Spec: spec, UlaPrefix: "fd12:3456:789a::/48"})
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(r.s, slog.New(slog.DiscardHandler)).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *rig) update(fn func(tx *store.Tx) error) {
	r.t.Helper()
	if err := r.s.Update(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// wait returns when ok says so; what is printed if it never does.
func (r *rig) wait(what string, ok func(tx *store.Tx) bool) {
	r.t.Helper()
	seen := func() (done bool) {
		r.s.View(func(tx *store.Tx) { done = ok(tx) })
		return done
	}
	if !poll.Until(time.Minute, seen) {
		r.s.View(func(tx *store.Tx) {
			r.t.Logf("services: %v\nnetworks: %v\nnodes: %v", tx.Services().List(), tx.Networks().List(), tx.Nodes().List())
		})
		r.t.Fatalf("timed out: %s", what)
	}
}

func (r *rig) network(n *api.Network) *api.Network {
	r.t.Helper()
	r.update(func(tx *store.Tx) error { return tx.Networks().Create(n) })
	var got *api.Network
	r.wait("network "+n.Id, func(tx *store.Tx) bool {
		got = tx.Networks().Get(n.Id)
		return got.Vni != 0 || got.AllocationError != ""
	})
	return got
}

func (r *rig) service(svc *api.Service) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error { return tx.Services().Create(svc) })
}

func net(name string, ipv6 bool) *api.Network {
	return &api.Network{Id: name, Spec: &api.NetworkSpec{Name: name, Driver: "overlay", Ipv6: ipv6}}
}

func svc(name string, ports []*api.PortConfig, networks ...string) *api.Service {
	s := &api.Service{Id: name, Spec: &api.ServiceSpec{Name: name, Endpoint: &api.EndpointSpec{Ports: ports}}}
	for _, n := range networks {
		s.Spec.Networks = append(s.Spec.Networks, &api.NetworkAttachmentSpec{Network: n})
	}
	return s
}

func publish(target, published uint32) []*api.PortConfig {
	return []*api.PortConfig{{TargetPort: target, PublishedPort: published}}
}

func TestNetworkGetsSubnetsAndVNI(t *testing.T) {
	r := newRig(t, nil)
	r.update(func(tx *store.Tx) error {
		return tx.Nodes().Create(&api.Node{Id: "n", Description: &api.NodeDescription{Hostname: "h",
			LocalSubnets: []string{"10.96.2.0/24", "0.0.0.0/0", "fe80::/64"}}})
	})
	got := r.network(net("app", true))
	want := []*api.IPAMConfig{
		{Subnet: "10.96.4.0/22", Gateway: "10.96.4.1"}, // not the first: the node has a route there
		{Subnet: "fd12:3456:789a::/64", Gateway: "fd12:3456:789a::1"},
	}
	if diff := cmp.Diff(want, got.Ipam, cmp.Comparer(proto.Equal)); diff != "" {
		t.Error(diff)
	}
	if got.Vni != 4096 {
		t.Errorf("VNI %d, want 4096", got.Vni)
	}
	second := r.network(net("other", false))
	if second.Vni != 4097 || len(second.Ipam) != 1 || second.Ipam[0].Subnet != "10.96.8.0/22" {
		t.Errorf("second network: %v", second)
	}
	r.update(func(tx *store.Tx) error { return tx.Networks().Delete("app") })
	if third := r.network(net("third", true)); third.Vni != 4098 || third.Ipam[0].Subnet != "10.96.4.0/22" {
		t.Errorf("want the subnet of the removed network, and the number of none: %v", third)
	}
}

func TestNetworkWishes(t *testing.T) {
	r := newRig(t, nil)
	n := net("app", false)
	n.Spec.Ipam = []*api.IPAMConfig{{Subnet: "172.30.0.0/24", Gateway: "172.30.0.254"}, {Subnet: "fd77::/64"}}
	got := r.network(n)
	want := []*api.IPAMConfig{{Subnet: "172.30.0.0/24", Gateway: "172.30.0.254"}, {Subnet: "fd77::/64", Gateway: "fd77::1"}}
	if diff := cmp.Diff(want, got.Ipam, cmp.Comparer(proto.Equal)); diff != "" {
		t.Error(diff)
	}
	n = net("clash", false)
	n.Spec.Ipam = []*api.IPAMConfig{{Subnet: "172.30.0.128/25"}}
	if got := r.network(n); got.AllocationError != "subnet 172.30.0.128/25 overlaps with network app (172.30.0.0/24): choose another" {
		t.Errorf("got %q", got.AllocationError)
	}
	// The reason goes away with its cause.
	r.update(func(tx *store.Tx) error { return tx.Networks().Delete("app") })
	r.wait("the clash is over", func(tx *store.Tx) bool {
		n := tx.Networks().Get("clash")
		return n.Vni != 0 && n.AllocationError == ""
	})
}

func TestPoolExhausted(t *testing.T) {
	r := newRig(t, &api.ClusterSpec{AddressPools: []string{"192.168.0.0/23"}, SubnetSize: 24})
	r.network(net("a", false))
	r.network(net("b", false))
	got := r.network(net("c", false))
	want := "no free /24 left in the cluster's address pools [192.168.0.0/23]: add a pool, remove a network or give the network a subnet"
	if got.AllocationError != want {
		t.Errorf("got %q, want %q", got.AllocationError, want)
	}
	r.update(func(tx *store.Tx) error {
		c := proto.CloneOf(tx.Cluster())
		c.Spec.AddressPools = append(c.Spec.AddressPools, "192.168.8.0/24")
		return tx.SetCluster(c)
	})
	r.wait("a grown pool", func(tx *store.Tx) bool {
		n := tx.Networks().Get("c")
		return n.Vni != 0 && n.Ipam[0].Subnet == "192.168.8.0/24"
	})
}

func TestPoolCoveredByARoute(t *testing.T) {
	r := newRig(t, nil)
	r.update(func(tx *store.Tx) error {
		return tx.Nodes().Create(&api.Node{Id: "n", Description: &api.NodeDescription{Hostname: "office", LocalSubnets: []string{"10.0.0.0/8"}}})
	})
	if got := r.network(net("a", false)); !strings.Contains(got.AllocationError, "node office has a route to 10.0.0.0/8") {
		t.Errorf("got %q", got.AllocationError)
	}
}

func TestNodes(t *testing.T) {
	r := newRig(t, nil)
	for _, id := range []string{"a", "b"} {
		r.update(func(tx *store.Tx) error {
			return tx.Nodes().Create(&api.Node{Id: id, Description: &api.NodeDescription{LocalSubnets: []string{"10.112.0.0/12"}}})
		})
	}
	r.wait("nodes", func(tx *store.Tx) bool { return tx.Nodes().Get("a").Number != 0 && tx.Nodes().Get("b").Number != 0 })
	r.s.View(func(tx *store.Tx) {
		a, b := tx.Nodes().Get("a"), tx.Nodes().Get("b")
		if a.Number != 1 || b.Number != 2 {
			t.Errorf("numbers %d and %d", a.Number, b.Number)
		}
		if diff := cmp.Diff([]string{"10.112.4.0/22", "fd12:3456:789a:8001::/64"}, b.GatewaySubnets); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEndpoint(t *testing.T) {
	r := newRig(t, nil)
	r.network(net("app", true))
	r.service(svc("web", publish(80, 8080), "app"))
	r.wait("web", func(tx *store.Tx) bool { return tx.Services().Get("web").Endpoint != nil })
	r.service(svc("auto", append(publish(80, 0), publish(80, 0)...), "app"))
	r.wait("endpoints", func(tx *store.Tx) bool {
		return tx.Services().Get("web").Endpoint != nil && tx.Services().Get("auto").Endpoint != nil
	})
	r.s.View(func(tx *store.Tx) {
		want := &api.Endpoint{
			Ports:      []*api.PortConfig{{Protocol: "tcp", TargetPort: 80, PublishedPort: 8080}},
			VirtualIps: []*api.VirtualIP{{NetworkId: "app", Addresses: []string{"10.96.0.2", "fd12:3456:789a::2"}}},
		}
		if diff := cmp.Diff(want, tx.Services().Get("web").Endpoint, cmp.Comparer(proto.Equal)); diff != "" {
			t.Error(diff)
		}
		auto := tx.Services().Get("auto").Endpoint
		if auto.Ports[0].PublishedPort != 30000 || auto.Ports[1].PublishedPort != 30001 {
			t.Errorf("ports %v", auto.Ports)
		}
	})
	// An update that changes something else moves nothing.
	r.update(func(tx *store.Tx) error {
		s := proto.CloneOf(tx.Services().Get("auto"))
		s.Spec.Endpoint.Ports = append(s.Spec.Endpoint.Ports, publish(81, 0)...)
		return tx.Services().Update(s)
	})
	r.wait("a third port", func(tx *store.Tx) bool {
		p := tx.Services().Get("auto").Endpoint.Ports
		return len(p) == 3 && p[0].PublishedPort == 30000 && p[1].PublishedPort == 30001 && p[2].PublishedPort == 30002
	})
}

func TestPortConflict(t *testing.T) {
	r := newRig(t, nil)
	r.service(svc("web", publish(80, 8080)))
	r.wait("web", func(tx *store.Tx) bool { return tx.Services().Get("web").Endpoint != nil })
	r.service(svc("late", publish(80, 8080)))
	want := "port 8080/tcp is already published by service web: choose another"
	r.wait("a reason", func(tx *store.Tx) bool { return tx.Services().Get("late").AllocationError == want })

	r.update(func(tx *store.Tx) error {
		s := proto.CloneOf(tx.Services().Get("web"))
		s.PendingDelete = true
		return tx.Services().Update(s)
	})
	r.wait("the port of a service on its way out", func(tx *store.Tx) bool {
		s := tx.Services().Get("late")
		return s.AllocationError == "" && len(s.Endpoint.GetPorts()) == 1
	})
}

func TestServiceWaitsForItsNetwork(t *testing.T) {
	r := newRig(t, &api.ClusterSpec{AddressPools: []string{"192.168.0.0/24"}, SubnetSize: 24})
	r.network(net("a", false))
	r.network(net("b", false))
	r.service(svc("web", nil, "b"))
	r.wait("a reason", func(tx *store.Tx) bool {
		return strings.HasPrefix(tx.Services().Get("web").AllocationError, "waiting for network b: no free /24")
	})
}

func TestHostNetworkNeedsNothing(t *testing.T) {
	r := newRig(t, nil)
	r.service(svc("h", nil, "host"))
	r.service(svc("after", publish(1, 0)))
	r.wait("the service after it", func(tx *store.Tx) bool { return tx.Services().Get("after").Endpoint != nil })
	r.s.View(func(tx *store.Tx) {
		if h := tx.Services().Get("h"); h.Endpoint != nil || h.AllocationError != "" {
			t.Errorf("%v", h)
		}
	})
}

// Whatever is created and removed, no two rows hold the same thing.
func TestUniqueProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := store.New(nil)
		update := func(fn func(tx *store.Tx) error) {
			if err := s.Update(context.Background(), fn); err != nil {
				rt.Fatal(err)
			}
		}
		update(func(tx *store.Tx) error {
			return tx.SetCluster(&api.Cluster{Id: "c", UlaPrefix: "fd00:1:2::/48",
				Spec: &api.ClusterSpec{AddressPools: []string{"10.96.0.0/25"}, SubnetSize: 28, NodePool: "10.112.0.0/24"}})
		})
		log := slog.New(slog.DiscardHandler)
		for i := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1:
				update(func(tx *store.Tx) error { return tx.Networks().Create(net(fmt.Sprintf("net%d", i), true)) })
			case 2:
				update(func(tx *store.Tx) error { return tx.Nodes().Create(&api.Node{Id: fmt.Sprintf("node%d", i)}) })
			case 3, 4:
				var on []string
				update(func(tx *store.Tx) error {
					for _, n := range tx.Networks().List() {
						if rapid.Bool().Draw(rt, "on") {
							on = append(on, n.Id)
						}
					}
					return tx.Services().Create(svc(fmt.Sprintf("s%d", i), publish(80, uint32(rapid.IntRange(0, 2).Draw(rt, "port"))), on...))
				})
			case 5:
				update(func(tx *store.Tx) error {
					for _, svc := range tx.Services().List() {
						if rapid.Bool().Draw(rt, "rm") {
							tx.Services().Delete(svc.Id)
						}
					}
					return nil
				})
			}
			update(func(tx *store.Tx) error {
				p := newPass(tx, log)
				p.write = true
				return p.run()
			})
			s.View(func(tx *store.Tx) { checkUnique(rt, tx) })
		}
	})
}

func checkUnique(t *rapid.T, tx *store.Tx) {
	vnis, numbers := map[uint32]bool{0: false}, map[uint32]bool{}
	var subnets []netip.Prefix
	for _, n := range tx.Networks().List() {
		if (n.Vni == 0) == (n.AllocationError == "") {
			t.Fatalf("network %s: VNI %d and error %q", n.Id, n.Vni, n.AllocationError)
		}
		if n.Vni != 0 && vnis[n.Vni] {
			t.Fatalf("VNI %d twice", n.Vni)
		}
		vnis[n.Vni] = true
		for _, c := range n.Ipam {
			subnets = append(subnets, netip.MustParsePrefix(c.Subnet))
		}
	}
	for _, n := range tx.Nodes().List() {
		if numbers[n.Number] || n.Number == 0 {
			t.Fatalf("node number %d twice", n.Number)
		}
		numbers[n.Number] = true
		for _, s := range n.GatewaySubnets {
			subnets = append(subnets, netip.MustParsePrefix(s))
		}
	}
	for i, a := range subnets {
		for _, b := range subnets[:i] {
			if a.Overlaps(b) {
				t.Fatalf("%v and %v overlap", a, b)
			}
		}
	}
	vips, ports := map[string]bool{}, map[uint32]bool{}
	for _, s := range tx.Services().List() {
		for _, v := range s.GetEndpoint().GetVirtualIps() {
			for _, a := range v.Addresses {
				if vips[v.NetworkId+a] {
					t.Fatalf("%s twice on %s", a, v.NetworkId)
				}
				vips[v.NetworkId+a] = true
			}
		}
		for _, p := range s.GetEndpoint().GetPorts() {
			if ports[p.PublishedPort] {
				t.Fatalf("port %d twice", p.PublishedPort)
			}
			ports[p.PublishedPort] = true
		}
	}
}
