//go:build linux

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	// silence is how long a manager may say nothing: it sends a heartbeat every half second.
	silence     = 2 * time.Second
	firstRetry  = 30 * time.Millisecond
	lastRetry   = time.Second
	longSession = 5 * time.Second // a session that lasted so long was no failure
	maxMessage  = 256 << 20       // bytes of one message: the first names every endpoint of this node's networks
)

// Reasons to end a session.
var (
	errSilent    = errors.New("the manager has gone silent")
	errNoReports = errors.New("the manager takes no reports")
	errAnnounce  = errors.New("this node has news of itself")
)

// keepSession always has a session with some manager, if there is one.
func (a *Agent) keepSession(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		addr := a.managers.pick()
		if addr == "" {
			pause.For(ctx, lastRetry)
			continue
		}
		began := time.Now()
		err := a.session(ctx, addr)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errAnnounce) {
			continue
		}
		a.managers.fail(addr)
		a.log.Info("session with a manager ended, trying another", "manager", addr, "error", err)
		if status.Code(err) == codes.NotFound {
			a.refused(ctx, addr, err)
		}
		if time.Since(began) > longSession {
			retry = firstRetry
		}
		pause.For(ctx, retry/2+rand.N(retry))
		retry = min(2*retry, lastRetry)
	}
}

// session talks to one manager until something breaks.
func (a *Agent) session(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := a.cfg.Dial(ctx, addr)
	if err != nil {
		return fmt.Errorf("dial manager %s: %w", addr, err)
	}
	defer conn.Close()
	patience := cmp.Or(a.cfg.silence, silence)
	watchdog := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer watchdog.Stop()

	client := api.NewDispatcherClient(conn)
	stream, err := client.Session(ctx, a.request())
	if err != nil {
		return cause(ctx, err)
	}
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel(nil)
	defer a.reporter.use(nil, nil)
	begin := sync.OnceFunc(func() {
		a.log.Info("session with a manager begun", "manager", addr)
		a.reporter.use(client, func() { cancel(errNoReports) })
		working.Go(func() { cancel(a.assignments(ctx, client)) })
	})
	for {
		m, err := stream.Recv()
		if err != nil {
			return cause(ctx, err)
		}
		watchdog.Reset(patience)
		select {
		case <-a.again:
			return errAnnounce
		default:
		}
		if m.Node == nil {
			continue
		}
		a.heard(addr, m, func() { cancel(errSilent) })
		begin()
	}
}

// cause prefers the reason why a context was cancelled to the error that this led to.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && ctx.Err() != nil {
		return c
	}
	return err
}

func (a *Agent) request() *api.SessionRequest {
	r := &api.SessionRequest{
		Description: a.cfg.Description(), Addr: a.cfg.AdvertiseAddr, DataPathAddr: a.cfg.DataPathAddr,
		GossipPort: uint32(a.cfg.GossipPort),
	}
	if a.cfg.ManagerStatus != nil {
		r.ManagerStatus = a.cfg.ManagerStatus()
	}
	return r
}

// heard takes up a session message.
func (a *Agent) heard(addr string, m *api.SessionMessage, drop func()) {
	if a.managers.set(m.Managers) {
		if err := a.db.SetManagers(m.Managers); err != nil {
			a.log.Error("the list of managers was not stored", "error", err)
		}
	}
	a.managers.use(addr, drop)
	a.refusals.forget()
	if a.cfg.OnSession != nil {
		a.cfg.OnSession(m)
	}
}

// assignments takes up what the manager wants of this node until the stream breaks. Runners live as long as the
// agent, not as long as the session.
func (a *Agent) assignments(ctx context.Context, client api.DispatcherClient) error {
	stream, err := client.Assignments(ctx, &api.AssignmentsRequest{SeenIndex: a.index}, grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return fmt.Errorf("ask for assignments: %w", err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive assignments: %w", err)
		}
		if err := a.apply(a.life, m); err != nil {
			return err
		}
	}
}
