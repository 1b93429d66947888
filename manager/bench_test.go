package manager

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// BenchmarkCommit is one small transaction after the other, and many at once, through the encrypted log of one and
// of three managers on one disk.
func BenchmarkCommit(b *testing.B) {
	for _, managers := range []int{1, 3} {
		a := newInit(b)
		for range managers - 1 {
			a.join()
		}
		lead, _ := leaderOf(b, a)
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("managers=%d/writers=%d", managers, writers), func(b *testing.B) {
				var left atomic.Int64
				left.Store(int64(b.N))
				done := make(chan error, writers)
				for range writers {
					go func() {
						for left.Add(-1) >= 0 {
							if err := createTask(lead.store); err != nil {
								done <- err
								return
							}
						}
						done <- nil
					}()
				}
				for range writers {
					check(b, <-done)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}

func createTask(s *store.Store) error {
	return s.Update(context.Background(), func(tx *store.Tx) error {
		return tx.Tasks().Create(&api.Task{Id: id.New(), ServiceId: "none", NodeId: "none", DesiredState: api.TaskState_SHUTDOWN,
			Status: &api.TaskStatus{State: api.TaskState_SHUTDOWN}})
	})
}
