package allocator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// rows is a store that a new leader looks at each time: nothing but the rows tells what was given before.
type rows struct {
	t *testing.T
	s *store.Store
}

func (r rows) update(fn func(tx *store.Tx) error) {
	r.t.Helper()
	err := r.s.Update(context.Background(), func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		p := newPass(tx, slog.New(slog.DiscardHandler))
		p.write = true
		return p.run()
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r rows) create(name string) (vips, why string) {
	r.t.Helper()
	r.update(func(tx *store.Tx) error { return tx.Services().Create(svc(name, nil, "app")) })
	r.s.View(func(tx *store.Tx) {
		s := tx.Services().Get(name)
		why = s.AllocationError
		for _, v := range s.Endpoint.GetVirtualIps() {
			vips = strings.Join(v.Addresses, " ")
		}
	})
	return vips, why
}

// A client that has a removed service's address in its cache is to reach nobody, for as long as there are other addresses.
func TestVirtualAddressesGoRound(t *testing.T) {
	r := rows{t, store.New(nil)}
	n := net("app", true)
	n.Spec.Ipam = []*api.IPAMConfig{{Subnet: "10.9.0.0/29"}}
	r.update(func(tx *store.Tx) error { return tx.SetCluster(&api.Cluster{Id: "c", UlaPrefix: "fd00:1:2::/48"}) })
	r.update(func(tx *store.Tx) error { return tx.Networks().Create(n) })
	want := func(name, vips string) {
		t.Helper()
		if got, why := r.create(name); got != vips {
			t.Errorf("service %s has %q (%s), want %q", name, got, why, vips)
		}
	}
	remove := func(name string) {
		t.Helper()
		r.update(func(tx *store.Tx) error { return tx.Services().Delete(name) })
	}
	want("a", "10.9.0.2 fd00:1:2::2")
	want("b", "10.9.0.3 fd00:1:2::3")
	remove("b")
	want("c", "10.9.0.4 fd00:1:2::4")
	remove("a")
	want("d", "10.9.0.5 fd00:1:2::5")
	want("e", "10.9.0.6 fd00:1:2::6")
	want("f", "10.9.0.2 fd00:1:2::7") // the one that was free longest
	want("g", "10.9.0.3 fd00:1:2::8")
	if got, why := r.create("h"); got != "" || !strings.HasPrefix(why, "network app has no free address in 10.9.0.0/29") {
		t.Errorf("of a full network: %q, %q", got, why)
	}
	remove("d")
	r.s.View(func(tx *store.Tx) {
		if got := tx.Services().Get("h").Endpoint.GetVirtualIps(); len(got) != 1 || got[0].Addresses[0] != "10.9.0.5" {
			t.Errorf("the one that was given back: %v", got)
		}
	})
}

func TestNetworkNumbersGoRound(t *testing.T) {
	r := rows{t, store.New(nil)}
	r.update(func(tx *store.Tx) error { return tx.SetCluster(&api.Cluster{Id: "c", VniBase: lastVNI - 2}) })
	for i, want := range []uint32{lastVNI - 2, lastVNI - 1, lastVNI, lastVNI - 2, 0} {
		name := fmt.Sprint("n", i)
		r.update(func(tx *store.Tx) error { return tx.Networks().Create(net(name, false)) })
		r.s.View(func(tx *store.Tx) {
			n := tx.Networks().Get(name)
			if n.Vni != want || (want == 0) != strings.HasPrefix(n.AllocationError, "all VXLAN numbers from") {
				t.Errorf("network %s has number %d (%s), want %d", name, n.Vni, n.AllocationError, want)
			}
		})
		if i == 1 {
			r.update(func(tx *store.Tx) error { return tx.Networks().Delete("n0") })
		}
	}
}

// An update takes tasks off a network one by one: as long as one is there, clients reach it where they did.
func TestVirtualAddressesStayForTasksOfBefore(t *testing.T) {
	r := newRig(t, nil)
	r.network(net("app", false))
	r.network(net("other", false))
	web := svc("web", nil, "app")
	web.Revision = 1
	r.service(web)
	vips := func(networks ...string) func(tx *store.Tx) bool {
		return func(tx *store.Tx) bool {
			var got []string
			for _, v := range tx.Services().Get("web").Endpoint.GetVirtualIps() {
				got = append(got, v.NetworkId)
			}
			return slices.Equal(got, networks)
		}
	}
	r.wait("an address", vips("app"))
	task := func(id string, revision uint64, state api.TaskState, network string) *api.Task {
		return &api.Task{Id: id, ServiceId: "web", Revision: revision, Status: &api.TaskStatus{State: state},
			Networks: []*api.NetworkAttachment{{NetworkId: network, Addresses: []string{"10.96.0.200/22"}}}}
	}
	r.update(func(tx *store.Tx) error {
		s := proto.CloneOf(tx.Services().Get("web"))
		s.Spec.Networks[0].Network, s.Revision, s.PreviousRevision = "other", 2, 1
		return errors.Join(tx.Tasks().Create(task("old", 1, api.TaskState_RUNNING, "app")),
			tx.Tasks().Create(task("new", 2, api.TaskState_RUNNING, "other")), tx.Services().Update(s))
	})
	r.wait("both", vips("other", "app"))
	r.update(func(tx *store.Tx) error {
		t := proto.CloneOf(tx.Tasks().Get("old"))
		t.Status.State = api.TaskState_SHUTDOWN
		return tx.Tasks().Update(t)
	})
	r.wait("that of the network that it is on", vips("other"))
}
