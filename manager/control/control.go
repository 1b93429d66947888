// Package control is what managers do for the command line: it checks requests, turns names into IDs and
// writes specs to the store.
//
// Control is the writer of specs and of Revision rows, and of nothing else: addresses, tasks and placements
// are other loops' fields. It checks everything that can be checked from rows, so that a request is refused
// at once and in one line rather than accepted and stuck.
package control

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Logs is where the logs of tasks come from, wherever they run.
type Logs interface {
	// Subscribe sends what the tasks' containers wrote until ctx ends or every log has ended, then closes the channel.
	Subscribe(ctx context.Context, tasks []*api.Task, o *api.LogOptions) (<-chan *api.ServiceLogsMessage, error)
	// SubscribeService is Subscribe for all tasks of a service, those that begin later, too.
	SubscribeService(ctx context.Context, serviceID string, o *api.LogOptions) (<-chan *api.ServiceLogsMessage, error)
}

// Deps are what control needs beside the store.
type Deps struct {
	Logs Logs
	// Members says who leads, which managers answer and which have no vote yet, by node ID.
	Members func() (leader string, reachable, learning map[string]bool)
	// NewToken makes a join token for the cluster's CA.
	NewToken func(caCert []byte) (string, error)
	// CheckSettings refuses settings of a service's container that no node could make one with; nil refuses none. What they mean is
	// the nodes' to know.
	CheckSettings func(*api.ServiceSpec) error
	Logger        *slog.Logger
}

// Server implements api.ControlServer.
type Server struct {
	api.UnimplementedControlServer
	store *store.Store
	deps  Deps
}

// New returns a server over the rows of s.
func New(s *store.Store, d Deps) *Server { return &Server{store: s, deps: d} }

// invalid is an error about what the user wrote.
func invalid(format string, a ...any) error {
	return status.Errorf(codes.InvalidArgument, format, a...)
}

// refused is an error about the state that things are in.
func refused(format string, a ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, a...)
}

// toStatus gives the store's errors their codes; what names the object. Errors with a code stay as they are.
func toStatus(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return status.Errorf(codes.NotFound, "no such %s", what)
	case errors.Is(err, store.ErrNameTaken), errors.Is(err, store.ErrExists):
		return status.Errorf(codes.AlreadyExists, "%s exists already: choose another name or remove it first", what)
	case errors.Is(err, store.ErrSequence):
		return status.Errorf(codes.Aborted, "%s was changed by somebody else meanwhile: look again and repeat", what)
	case errors.Is(err, store.ErrUnknown): // package manager asks the next leader
		return status.Errorf(codes.Unknown, "%s: %v", what, err)
	case errors.Is(err, store.ErrNotLeader):
		return status.Error(codes.Unavailable, "this manager is not the leader: repeat the request")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the managers did not agree in time: look whether it was done before repeating it")
	}
	return status.Errorf(codes.Internal, "%s: %v", what, err)
}

// gone: what a request that is tried again should remove is not there, because it did, or because it never was.
func gone(ctx context.Context, err error) bool {
	return store.RequestOf(ctx).Again && status.Code(err) == codes.NotFound
}

// row is any object that has a version.
type row interface {
	proto.Message
	GetMeta() *api.Meta
}

// atVersion refuses a request that was made from an older view of obj than the store has. Zero means whatever is there.
func atVersion(obj row, version uint64, what string) error {
	if version != 0 && obj.GetMeta().GetVersion() != version {
		return toStatus(store.ErrSequence, what)
	}
	return nil
}
