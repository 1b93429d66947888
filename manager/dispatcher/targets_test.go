package dispatcher

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// An update gives a published port another target. Nodes hear at once which tasks still listen where they did, and no more when
// the update is taken back.
func TestTargetsOfOldTasks(t *testing.T) {
	c := newCluster(t, nil)
	fill(c)
	spec := func(target uint32) *api.ServiceSpec {
		return &api.ServiceSpec{Name: "name-web", Endpoint: &api.EndpointSpec{Ports: []*api.PortConfig{{TargetPort: target, PublishedPort: 8080}}}}
	}
	point := func(revision uint64, target uint32) {
		c.write(func(tx *store.Tx) error {
			web := proto.CloneOf(tx.Services().Get("web"))
			web.Revision, web.Spec, web.Endpoint.Ports = revision, spec(target), spec(target).Endpoint.Ports
			return tx.Services().Update(web)
		})
	}
	c.write(func(tx *store.Tx) error {
		first := proto.CloneOf(tx.Revisions().Get("web.1"))
		first.Spec = spec(80)
		return tx.Revisions().Update(first)
	})
	stream, err := c.client("m2", "w1").Assignments(t.Context(), &api.AssignmentsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	w := told{}
	hear := func(want ...uint32) {
		t.Helper()
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		w.take(m)
		var got []uint32
		for _, p := range w["endpoint /web2"].(*api.EndpointView).Ports {
			if p.PublishedPort != 8080 || p.Protocol != "tcp" {
				t.Errorf("port %v", p)
			}
			got = append(got, p.TargetPort)
		}
		if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("other targets of web2: %v, want %v", got, want)
		}
	}
	hear()
	point(2, 81)
	hear(80)
	point(1, 80)
	hear()
}
