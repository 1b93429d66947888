// Package scheduler decides which node a task goes to.
//
// It is pure: State is built from node rows and from what runs on them, Place answers, and
// nothing else is read or written. Tasks of one revision are placed as a Group, so that the
// cost grows with nodes + tasks: filters (filter.go) look at every node once and say how
// many tasks it has room for, then the tasks are poured over the nodes as water would
// (spread.go): evenly over the values of each placement preference, then over the nodes
// with the fewest tasks of the service, the fewest tasks at all, the most free memory.
// Nodes where the service kept failing lately come last. The same input always gives the
// same answer. A task that fits nowhere gets a reason for a person (explain.go).
//
// The scheduler does not know transactions, addresses or time.
package scheduler
