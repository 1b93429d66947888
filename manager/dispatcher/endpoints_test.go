package dispatcher

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestEndpointsAreMadeOnceForAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, store: store.New(nil)}
		fill(c)
		shared := newEndpoints()
		nodes := []*assignment{newAssignment("w1", shared), newAssignment("w2", shared)}
		web2 := key{anEndpoint, "net1", "web2"}
		look := func() proto.Message {
			t.Helper()
			c.store.View(func(tx *store.Tx) {
				for _, a := range nodes {
					a.update(tx, nil)
				}
			})
			if nodes[0].told[web2] == nil || nodes[0].told[web2] != nodes[1].told[web2] {
				t.Errorf("one node was told %p, the other %p", nodes[0].told[web2], nodes[1].told[web2])
			}
			return nodes[0].told[web2]
		}
		change := func(f func(*api.Task)) {
			c.write(func(tx *store.Tx) error {
				row := proto.CloneOf(tx.Tasks().Get("web2"))
				f(row)
				return tx.Tasks().Update(row)
			})
		}
		first := look()
		change(func(row *api.Task) { row.Status.Message = "of no meaning here" })
		if look() != first {
			t.Error("the endpoint was made anew though it is the same")
		}
		change(func(row *api.Task) { row.DesiredState = api.TaskState_SHUTDOWN })
		if m := look(); m == first || m.(*api.EndpointView).Ready {
			t.Errorf("after the change: %v", m)
		}
		// What nobody asks for any more goes.
		c.write(func(tx *store.Tx) error { return tx.Tasks().Delete("web2") })
		c.store.View(func(tx *store.Tx) {
			for range 3 {
				time.Sleep(turn + time.Second)
				nodes[0].update(tx, nil)
			}
		})
		_, now := shared.now[web2]
		if _, last := shared.last[web2]; now || last {
			t.Error("the endpoint of a task that is gone was kept")
		}
	})
}
