//go:build linux

package allocator

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// A pass looks at all services, at every change of one: what it costs must follow their number, not its square.
func TestManyServicesWithPorts(t *testing.T) {
	const n = 2000
	s := store.New(nil)
	err := s.Update(context.Background(), func(tx *store.Tx) error {
		if err := tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{}}); err != nil {
			return err
		}
		for i := range n {
			svc := &api.Service{Id: fmt.Sprintf("s%04d", i), Spec: &api.ServiceSpec{Name: fmt.Sprint("web", i), Endpoint: &api.EndpointSpec{
				Ports: []*api.PortConfig{{TargetPort: 80}, {TargetPort: 443, PublishedPort: uint32(10000 + i)}}}}}
			if err := tx.Services().Create(svc); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	pass := func() (took time.Duration) {
		err := s.Update(context.Background(), func(tx *store.Tx) error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			began := worked(t)
			p := newPass(tx, slog.New(slog.DiscardHandler))
			p.write = true
			err := p.run()
			took = worked(t) - began
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return took
	}
	first, again := pass(), pass()
	t.Logf("%d services: the first pass takes %v, one without news %v", n, first, again)
	if again > time.Second/2 { // it takes ten milliseconds; compared with each other, the services took seconds
		t.Errorf("a pass over %d services without news takes %v", n, again)
	}
}

// worked is how long the calling thread has had a processor: what else the machine does is not in it.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
