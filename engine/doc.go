// Package engine is the container engine of one node.
//
// An Engine keeps containers: each is a row (api.Container, one directory under the data
// directory) and whatever the kernel holds for it while it runs. The way from row to running
// process is an ordered list of steps with a prepare and a release; release is safe when prepare
// never ran, so that stopping, removing and cleaning up after a crash are the same code. What
// runs belongs to the runtime's shims and outlives the daemon; Open finds it again.
//
// It knows nothing of clusters: a service's task is a container with a task ID, whose network
// namespace the engine makes and leaves to the caller to fill (network mode "external").
// Unpacking images, file systems, logs, cgroups and local networks are packages of their own below this one.
package engine
