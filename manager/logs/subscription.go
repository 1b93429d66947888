package logs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// subscription is one client's wish: tasks, where they run and how far each has come.
type subscription struct {
	id      string
	options *api.LogOptions
	out     chan *api.ServiceLogsMessage
	ended   chan struct{} // closed: nobody reads any more
	changed chan struct{} // buffered by one: wait should look again

	senders sync.WaitGroup // of out, which is closed after the last

	mu    sync.Mutex
	over  bool
	tasks map[string]*source
}

// source is one task's log.
type source struct {
	node   string
	since  time.Time              // waiting for the node from here on; zero while it is connected
	last   *timestamppb.Timestamp // of the newest line
	warned bool
	done   bool
}

func newSubscription(id string, options *api.LogOptions) *subscription {
	if options == nil {
		options = &api.LogOptions{Tail: -1}
	}
	return &subscription{
		id: id, options: options, out: make(chan *api.ServiceLogsMessage), ended: make(chan struct{}),
		changed: make(chan struct{}, 1), tasks: map[string]*source{},
	}
}

// expect adds a task; false if it was there.
func (s *subscription) expect(task, node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks[task] != nil {
		return false
	}
	s.tasks[task] = &source{node: node, since: time.Now()}
	s.nudge()
	return true
}

func (s *subscription) nodes() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes := map[string]bool{}
	for _, t := range s.tasks {
		nodes[t.node] = true
	}
	return nodes
}

// askAgain returns what a node that has just connected is to be asked: what is not done, from where it broke off.
func (s *subscription) askAgain(node string) []*api.LogSubscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var asks []*api.LogSubscription
	for id, t := range s.tasks {
		if t.node != node || t.done {
			continue
		}
		o := proto.CloneOf(s.options)
		if t.last != nil {
			o.Since, o.Tail = timestamppb.New(t.last.AsTime().Add(1)), -1
		}
		t.warned = false
		asks = append(asks, &api.LogSubscription{Id: s.id, TaskIds: []string{id}, Options: o})
	}
	return asks
}

// gone notes that a node has lost its stream.
func (s *subscription) gone(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.node == node {
			t.since = time.Now()
		}
	}
	s.nudge()
}

func (s *subscription) nudge() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// publish hands a node's message to the client.
func (s *subscription) publish(ctx context.Context, node string, m *api.PublishLogsMessage) error {
	s.mu.Lock()
	t := s.tasks[m.TaskId]
	if t == nil || t.node != node {
		s.mu.Unlock()
		return status.Errorf(codes.PermissionDenied, "task %s does not run on node %s", m.TaskId, node)
	}
	if n := len(m.Lines); n > 0 {
		t.last = m.Lines[n-1].Time
	}
	s.mu.Unlock()
	out := &api.ServiceLogsMessage{TaskId: m.TaskId, NodeId: node, Lines: m.Lines}
	if m.Error != "" {
		out.Warning = fmt.Sprintf("logs of task %s: %s", m.TaskId, m.Error)
	}
	if len(out.Lines) > 0 || out.Warning != "" {
		if err := s.send(ctx, out); err != nil {
			return err
		}
	}
	if m.Done {
		s.finish(m.TaskId)
	}
	return nil
}

func (s *subscription) finish(task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks[task].done = true
	s.nudge()
}

func (s *subscription) send(ctx context.Context, m *api.ServiceLogsMessage) error {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return status.Errorf(codes.NotFound, "log subscription %s has ended", s.id)
	}
	s.senders.Add(1)
	s.mu.Unlock()
	defer s.senders.Done()
	select {
	case s.out <- m:
		return nil
	case <-s.ended:
		return status.Errorf(codes.NotFound, "log subscription %s has ended", s.id)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end lets senders go and closes the client's channel.
func (s *subscription) end() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	close(s.ended)
	go func() {
		s.senders.Wait()
		close(s.out)
	}()
}

// wait warns of nodes that do not answer and returns when all is told, or when ctx ends.
func (s *subscription) wait(ctx context.Context, b *Broker) {
	tick := time.NewTicker(answerIn / 4)
	defer tick.Stop()
	for {
		for _, w := range s.missing(b) {
			if s.send(ctx, w) != nil {
				return
			}
		}
		if !s.options.Follow && s.complete() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		case <-tick.C:
		}
	}
}

func (s *subscription) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if !t.done {
			return false
		}
	}
	return true
}

// missing finds the tasks whose node is down or has not connected in time. Without follow they count as done.
func (s *subscription) missing(b *Broker) []*api.ServiceLogsMessage {
	var warnings []*api.ServiceLogsMessage
	for node := range s.nodes() {
		connected, name, down := b.connected(node)
		if connected {
			continue
		}
		s.mu.Lock()
		for id, t := range s.tasks {
			if t.node != node || t.done || t.warned || (!down && time.Since(t.since) < answerIn) {
				continue
			}
			t.warned, t.done = true, !s.options.Follow
			warnings = append(warnings, &api.ServiceLogsMessage{
				TaskId: id, NodeId: node, Warning: fmt.Sprintf("logs of task %s are missing: node %s %s", id, name, silence(down)),
			})
		}
		s.mu.Unlock()
	}
	return warnings
}

func silence(down bool) string {
	if down {
		return "is down"
	}
	return "does not answer"
}
