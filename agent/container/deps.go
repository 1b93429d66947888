//go:build linux

package container

import (
	"context"

	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

// Engine is what the agent needs of the node's container engine. Package node makes one of an engine.Engine.
// IDs are container IDs. Rows that it returns are not changed by either side.
type Engine interface {
	// Create makes a container that is marked with its task. Nothing is left behind on error.
	Create(ctx context.Context, taskID string, req *api.CreateContainerRequest) (*api.Container, error)
	Start(ctx context.Context, id string) error
	// Stop sends the container's stop signal and kills it after its grace period. Stopping a stopped one is no error.
	Stop(ctx context.Context, id string) error
	// Kill ends a container now.
	Kill(ctx context.Context, id string) error
	// Remove kills and removes a container with its anonymous volumes; one that is not there is no error.
	Remove(ctx context.Context, id string) error
	// Get returns nil for a container that does not exist.
	Get(ctx context.Context, id string) (*api.Container, error)
	// OfTask returns a task's container, nil if it has none.
	OfTask(ctx context.Context, taskID string) (*api.Container, error)
	// Tasks lists every container that belongs to a task.
	Tasks(ctx context.Context) ([]*api.Container, error)
	// Change blocks until the container has ended, is gone, or its health differs from the one given.
	Change(ctx context.Context, id, health string) error
	// Logs calls emit for each line; with Follow until the container ends.
	Logs(ctx context.Context, id string, o *api.LogOptions, emit func(*api.LogLine) error) error
	HasImage(ctx context.Context, ref string) (bool, error)
	// Pull fetches an image from its registry.
	Pull(ctx context.Context, ref string) error
}

// Overlay is what a Controller needs of the overlay. *overlay.Overlay is one.
type Overlay interface {
	Attach(ctx context.Context, a overlay.Attachment) error
	Detach(ctx context.Context, id string) error
}

// ImageSource brings an image to this node from other nodes of the cluster. It is asked before any registry.
type ImageSource interface {
	// Fetch returns false if no other node has the image.
	Fetch(ctx context.Context, ref string) (bool, error)
}

// Node is what containers may learn of the node they are on.
type Node struct {
	ID       string
	Hostname string
}

// Deps are what all controllers of a node share.
type Deps struct {
	Engine  Engine
	Overlay Overlay
	Images  ImageSource // nil: registries only
	Node    func() Node
	// Nameservers returns the addresses where the DNS server answers a task.
	Nameservers func(*api.Task) []string
	// Slots bounds how many containers are created and started at a time; nil: no bound.
	Slots chan struct{}
}
