// Package runtime runs OCI bundles as containers on one node.
//
// Runtime is the contract, New gives Shoal's own: one shoal-shim per container, which
// makes it, or has any other OCI runtime make it (CreateOptions.Runtime) and keeps it.
// The package knows nothing of images, networks or names: a bundle directory with a
// config.json comes in, a process with an exit code comes out.
package runtime

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Errors that callers branch on.
var (
	ErrNotFound    = errors.New("no such container")
	ErrExists      = errors.New("container exists")
	ErrNotRunning  = errors.New("container is not running")
	ErrNotRunnable = errors.New("cannot execute")    // exit code 126
	ErrNoCommand   = errors.New("command not found") // exit code 127
)

// Status is where a container is in its life: created, running, paused, stopped.
type Status string

const (
	Created Status = "created"
	Running Status = "running"
	Paused  Status = "paused"
	Stopped Status = "stopped"
)

// LogConfig says where the shim writes the container's output.
type LogConfig struct {
	Driver   string            // json-file (default), local, none
	Path     string            // of the newest file; older ones are Path.1, Path.2, ...
	MaxSize  int64             // bytes before rotation; 0: never
	MaxFiles int               // at least 1
	Attrs    map[string]string // of each line
}

// CreateOptions describe a container to be.
type CreateOptions struct {
	ID        string
	Bundle    string // absolute directory that holds config.json; Root.Path in it is a mounted root file system
	Log       LogConfig
	OpenStdin bool // keep a stdin pipe; otherwise /dev/null
	Init      bool // run shoal's reaper as PID 1 in front of the command (docker --init)
	// Runtime is the path of another OCI runtime's program (runc, crun, runsc, kata-runtime) that is to make the container;
	// empty for Shoal's own.
	Runtime string
	// CgroupPath is relative to the root of every hierarchy, for example shoal/ID.
	CgroupPath string
	// KeepParents leaves the groups above at the container's end: they were asked for, and limits may be set there.
	KeepParents bool
}

// State is what a container is now.
type State struct {
	ID        string
	Status    Status
	Pid       int // of the container's PID 1 in the daemon's namespace, 0 once stopped
	StartedAt time.Time
	Exit      *Exit // set once stopped
}

// Exit is how a container or exec session ended.
type Exit struct {
	Code      int // 128+N for signal N
	OOMKilled bool
	At        time.Time
	Error     string // why it never started, empty otherwise
}

// Size of a terminal, in characters.
type Size struct{ Width, Height uint16 }

// Stream is a connection to a container's or exec session's standard streams.
// Closing it detaches; it does not end the process.
type Stream interface {
	Stdin() io.WriteCloser // nil if there is none; Close ends the process's input
	// Output copies until the process has ended or the stream is closed. With a terminal everything is stdout.
	Output(stdout, stderr io.Writer) error
	Close() error
}

// ExecOptions describe one more process in a running container.
type ExecOptions struct {
	Process    *specs.Process // args, env, cwd, user, terminal, capabilities
	Stdin      bool
	Privileged bool
	Size       Size
	Tied       bool // the process is killed when this daemon dies; another runtime's is not
	Watched    bool // another container is in the same PID namespace
}

// Process is an exec session.
type Process interface {
	Pid() int
	Stream() Stream
	Resize(Size) error
	Signal(syscall.Signal) error
	Wait(ctx context.Context) (Exit, error)
}

// Stats are counters of a container's cgroup.
type Stats struct {
	Time           time.Time
	CPUNanos       uint64
	ThrottledNanos uint64
	Memory         uint64 // without inactive file pages
	MemoryLimit    uint64 // 0: none
	Pids           uint64
	BlockRead      uint64
	BlockWrite     uint64
}

// Runtime runs containers. All methods may be called concurrently, also by a daemon that was started after the
// one that created the container: nothing is held in memory only.
type Runtime interface {
	// Create makes namespaces and cgroups and leaves the container's init waiting, its command not yet executed.
	// On error nothing is left behind.
	Create(ctx context.Context, o CreateOptions) (State, error)
	// Start lets the command run and returns once it has been executed (or could not be: ErrNoCommand, ErrNotRunnable).
	Start(ctx context.Context, id string) error
	// Kill signals PID 1.
	Kill(ctx context.Context, id string, sig syscall.Signal) error
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
	// Spec is the configuration that a container was created from, without its seccomp profile. It must not be changed.
	Spec(ctx context.Context, id string) (*specs.Spec, error)
	Exec(ctx context.Context, id string, o ExecOptions) (Process, error)
	Attach(ctx context.Context, id string) (Stream, error)
	Resize(ctx context.Context, id string, s Size) error
	// Wait blocks until the container has stopped; also right for one that stopped long ago.
	Wait(ctx context.Context, id string) (Exit, error)
	State(ctx context.Context, id string) (State, error)
	Update(ctx context.Context, id string, r *specs.LinuxResources) error
	Stats(ctx context.Context, id string) (Stats, error)
	Pids(ctx context.Context, id string) ([]int, error)
	// Delete kills what runs and removes what the runtime holds: shim, run directory, cgroups. Deleting what does not
	// exist, or was only half made, is no error.
	Delete(ctx context.Context, id string) error
	// List finds every container under the run directory, whoever created it, half-made ones included.
	List(ctx context.Context) ([]State, error)
}
