//go:build linux

package agent

import (
	"time"

	"github.com/shoal-dev/shoal/proto/api"
)

// action is the one thing to do next for a task.
type action string

const (
	doAccept   action = "accept"   // say that the task is known here
	doPrepare  action = "prepare"  // image, container
	doWait     action = "wait"     // ready: its time or the managers' word is yet to come
	doStart    action = "start"    // network, process, health check
	doWatch    action = "watch"    // it runs: wait for its end
	doShutdown action = "shutdown" // stop it
	doRemove   action = "remove"   // remove what is left of it
	doRest     action = "rest"     // nothing to do before managers say otherwise
	doForget   action = "forget"   // nothing is left and nobody asks: drop it
)

// situation is all that the next step depends on.
type situation struct {
	State   api.TaskState // as last told or about to be told to managers
	Desired api.TaskState
	Gone    bool          // managers no longer know the task, or have given it up
	Removed bool          // nothing of the container is left
	Wait    time.Duration // until the task may start, zero or less: now
}

// next says what to do. It is the whole ladder of a task on its node: docs/task-model.md draws it.
func next(s situation) action {
	stop := s.Gone || s.Desired > api.TaskState_RUNNING
	switch {
	case s.State > api.TaskState_RUNNING:
		return afterEnd(s)
	case stop:
		return doShutdown
	case s.State < api.TaskState_ACCEPTED:
		return doAccept
	case s.State < api.TaskState_READY:
		return doPrepare
	case s.State == api.TaskState_READY && (s.Desired < api.TaskState_RUNNING || s.Wait > 0):
		return doWait
	case s.State < api.TaskState_RUNNING:
		return doStart
	}
	return doWatch
}

// afterEnd: an ended task's container stays, for its logs, until nobody wants it.
func afterEnd(s situation) action {
	switch {
	case s.Removed && s.Gone:
		return doForget
	case !s.Removed && (s.Gone || s.Desired == api.TaskState_REMOVE):
		return doRemove
	}
	return doRest
}
