//go:build linux

package agent

import (
	"testing"
	"time"

	. "github.com/shoal-dev/shoal/proto/api"
)

func TestNext(t *testing.T) {
	run, stop, remove := TaskState_RUNNING, TaskState_SHUTDOWN, TaskState_REMOVE
	tests := []struct {
		name string
		s    situation
		want action
	}{
		{"new here", situation{State: TaskState_ASSIGNED, Desired: run}, doAccept},
		{"only to be prepared, new", situation{State: TaskState_ASSIGNED, Desired: TaskState_READY}, doAccept},
		{"accepted", situation{State: TaskState_ACCEPTED, Desired: run}, doPrepare},
		{"preparing after a restart", situation{State: TaskState_PREPARING, Desired: run}, doPrepare},
		{"ready", situation{State: TaskState_READY, Desired: run}, doStart},
		{"ready, not wanted to run yet", situation{State: TaskState_READY, Desired: TaskState_READY}, doWait},
		{"ready, restart delay", situation{State: TaskState_READY, Desired: run, Wait: time.Second}, doWait},
		{"ready, delay over", situation{State: TaskState_READY, Desired: run, Wait: -time.Second}, doStart},
		{"starting", situation{State: TaskState_STARTING, Desired: run}, doStart},
		{"starting, delay in the future", situation{State: TaskState_STARTING, Desired: run, Wait: time.Second}, doStart},
		{"running", situation{State: run, Desired: run}, doWatch},
		{"stop before anything", situation{State: TaskState_ASSIGNED, Desired: stop}, doShutdown},
		{"stop while preparing", situation{State: TaskState_PREPARING, Desired: stop}, doShutdown},
		{"stop in the delay", situation{State: TaskState_READY, Desired: stop, Wait: time.Second}, doShutdown},
		{"stop", situation{State: run, Desired: stop}, doShutdown},
		{"remove stops first", situation{State: run, Desired: remove}, doShutdown},
		{"unknown to managers stops first", situation{State: run, Desired: run, Gone: true}, doShutdown},
		{"ended, container stays for its logs", situation{State: TaskState_FAILED, Desired: run}, doRest},
		{"ended and asked to stop", situation{State: TaskState_COMPLETE, Desired: stop}, doRest},
		{"stopped, to be removed", situation{State: stop, Desired: remove}, doRemove},
		{"removed, row still there", situation{State: stop, Desired: remove, Removed: true}, doRest},
		{"ended, unknown to managers", situation{State: TaskState_FAILED, Desired: run, Gone: true}, doRemove},
		{"nothing left", situation{State: stop, Desired: remove, Gone: true, Removed: true}, doForget},
		{"rejected", situation{State: TaskState_REJECTED, Desired: run}, doRest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := next(tt.s); got != tt.want {
				t.Errorf("next(%+v) = %s, want %s", tt.s, got, tt.want)
			}
		})
	}
}

// TestEverySituationLeadsSomewhere: from any state, a task that managers forgot is forgotten here after few steps.
func TestEverySituationLeadsSomewhere(t *testing.T) {
	for v := range TaskState_name {
		s := situation{State: TaskState(v), Desired: TaskState_RUNNING, Gone: true}
		for range 3 {
			switch next(s) {
			case doShutdown:
				s.State = TaskState_SHUTDOWN
			case doRemove:
				s.Removed = true
			}
		}
		if next(s) != doForget {
			t.Errorf("a forgotten task in %v ends in %s", TaskState(v), next(s))
		}
	}
}
