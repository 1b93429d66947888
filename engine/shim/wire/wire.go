// Package wire is the language between the daemon and the shim of one container.
//
// The daemon compiles an OCI config.json into a Blob: a Header, a list of Instr
// and the data they point at. The shim forks and the child, which has no Go
// scheduler, interprets the instructions one system call at a time until one of
// them is a successful execve. Everything else (start, kill, attach, exec, wait)
// travels in frames on a unix socket. Both programs are built from this package
// for the same architecture, so the layout is that of the Go structs.
//
// The package imports nothing, because the shim must stay tiny. It holds no
// behaviour: building blobs is engine/runtime's, running them cmd/shoal-shim's.
package wire

// Version of frames and blobs. A shim answers a frame of another version with
// OpErr and CodeVersion; a daemon keeps the older versions it can still speak.
const Version = 1

// Layout of a Header. The first shims had another one under the same Version: theirs lacks PidFile. They are told apart by what they
// do not know, see engine/runtime.
const (
	LayoutFirst = 1 + iota
	Layout
)

// Magic starts a blob: "SHOALP" and the version.
const Magic uint64 = 0x3130_504c_414f_4853

// Span is a piece of the blob: Off bytes from its start. Strings are followed by a NUL
// that Len does not count.
type Span struct{ Off, Len uint32 }

// Header is the start of a blob.
//
//	Header | Instr * NInstr | Open * NOpen | Join * NJoin | uint32 * NReloc | data
//
// A relocation is the offset of an 8-byte word in the blob that holds an offset
// and has to become an address.
type Header struct {
	Magic      uint64
	Size       uint64 // of the whole blob
	CloneFlags uint64 // namespaces that the child is born into
	NInstr     uint32
	NOpen      uint32
	NJoin      uint32
	NReloc     uint32
	Flags      uint32
	Cgroup     uint32 // register that holds a cgroup v2 directory to be born into, 0: none
	UIDMap     Span   // written when the child asks with MsgMap
	GIDMap     Span
	OOMFile    Span // cgroup file with an "oom_kill N" line
	LogPath    Span
	PidFile    Span
	LogMax     uint64
	LogFiles   uint32
	Width      uint16 // of the terminal
	Height     uint16
}

// Flags of a Header.
const (
	FlagTTY    = 1 << iota // the child makes a terminal and sends its master side
	FlagStdin              // keep a pipe for standard input
	FlagNoPID              // no PID namespace of its own: orphans come to the shim
	FlagNested             // the child forks once more and reports the pid with MsgPid
	FlagAdopt              // the child is another runtime; at its end the container's pid is in PidFile
	FlagAttrs              // behind the NUL of LogPath is another text, with a NUL as well: what each line of the log has besides
)

// Open is a file that the shim opens before it forks and keeps in a register.
type Open struct {
	Path  Span
	Flags uint32
	Reg   uint32
}

// Join is a namespace that the shim's thread enters before it forks and leaves
// afterwards. An empty path means the namespace of the container's PID 1.
type Join struct {
	Path Span
	Type uint32 // CLONE_NEW*
	_    uint32
}

// Instr is one step of the child: a system call, or one of the Do numbers.
type Instr struct {
	NR    uint32
	Label Span   // what this step does, for error messages: "mount proc on /proc"
	OnErr uint16 // where to go after a failure when Fail is FailJump
	OnOK  uint16 // where to go after success, 0: next
	OkErr uint16 // an errno that counts as success
	Fail  uint8
	Dst   uint8 // register for the result, 0: none
	Regs  uint8 // bit i: Args[i] is the number of a register
	_     [7]byte
	Args  [6]uint64
}

// What to do when an instruction fails.
const (
	FailAbort  = iota // report and exit
	FailIgnore        // go on
	FailWarn          // report and go on
	FailJump          // go to OnErr
)

// Registers with a meaning. Register 0 is never written.
const (
	RegSync   = 1 // socket to the shim
	RegStdin  = 2
	RegStdout = 3
	RegStderr = 4
	RegPidfd  = 5 // of the container's PID 1 (exec only)
	RegExec   = 6 // errno remembered by DoExec
	RegFree   = 7 // the first one for programs
	NumRegs   = 256
)

// Instructions that are not system calls.
const (
	DoBase     = 0x10000
	DoStore32  = DoBase + iota // *Args[0] = uint32(Args[1])
	DoAwait                    // wait for a byte from the shim, exit if it is gone
	DoExec                     // execve(Args[0:3]); next on ENOENT, ENOTDIR, EACCES
	DoExecFail                 // report why every DoExec failed
	DoCheckCwd                 // abort if the working directory is outside of the root
	DoFork                     // clone(Args[0]); the parent goes to OnOK with the pid in Dst
	DoReap                     // be PID 1: forward signals to pid Args[0], reap, exit as it does
	DoExit                     // exit(Args[0])
	DoSignals                  // default handlers, nothing blocked
)

// Msg goes from the child to the shim, one a packet.
type Msg struct {
	Kind  uint32
	PC    uint32
	Value uint32
	_     uint32
}

// Kinds of Msg.
const (
	MsgMap     = 1 + iota // asks for the user namespace's maps, waits
	MsgPid                // Value is the pid of the real child
	MsgTTY                // carries the terminal's master side, waits
	MsgReady              // everything done, waits for start
	MsgWarn               // instruction PC failed with errno Value; going on
	MsgFail               // the same, and exits
	MsgCmdFail            // the command could not be executed
	MsgHooks              // made but for entering the root, waits for the daemon's hooks
)

// Frame starts every message on a socket; Len bytes follow.
type Frame struct {
	Len uint32
	Ver uint8
	Op  uint8
	Arg uint16
}

// FrameSize is the length of a Frame in bytes: little endian Len, Ver, Op, Arg.
const FrameSize = 8

// MaxFrame bounds a frame's payload.
const MaxFrame = 8 << 20

// Requests and replies. A connection carries one request at a time, except that
// stream frames follow OpAttach, and OpKill may follow OpRunExec. That one older daemons send: shims from before 2026-11-26
// take it for one to the container's first process if the other has just ended.
const (
	OpCreate  = 1 + iota // payload: blob. Answer: OpCreated or OpErr
	OpCreated            // payload: pid uint32, then warnings, one a line
	OpStart              // Answer: OpOK once executed, or OpErr
	OpKill               // Arg: signal. Answer: OpOK or OpErr
	OpResize             // payload: width, height uint16
	OpWait               // Answer: OpExit once the container has stopped
	OpAttach             // Answer: OpOK, then stream frames
	OpRunExec            // payload: blob; carries fds 0 1 2 unless FlagTTY. Answer: OpCreated (with the terminal), OpErr; later OpExit
	OpOK
	OpErr        // Arg: code, payload: text
	OpExit       // payload: Exit
	OpStdin      // stream, to the shim
	OpStdinClose // stream, to the shim
	OpStdout     // stream, from the shim
	OpStderr     // stream, from the shim
	OpEOF        // stream, from the shim: the process has ended
	OpConsole    // carries the terminal of a container that another runtime has made. Answer: OpOK or OpErr
	OpHooks      // another answer to OpCreate, payload: pid uint32. The container waits for OpGoOn
	OpGoOn       // answered as OpCreate is
)

// ExecHook is the Arg of an OpRunExec that is no user's process: it may come before the container has started.
const ExecHook = 1

// ExecTied is the Arg of an OpRunExec whose process is killed when its connection closes: nobody else will.
const ExecTied = 2

// Codes of OpErr.
const (
	CodeFailed    = 1 + iota // setup failed
	CodeNoCommand            // exit code 127
	CodeNoRun                // exit code 126
	CodeNotRunning
	CodeVersion
	CodeState // the request does not fit the container's state
)

// Names of files in a container's directory.
const (
	SocketFile = "s"     // the shim's socket
	StateFile  = "state" // see State
	ExitFile   = "exit"  // "CODE OOM NANOSECONDS\nreason", written once, by rename
	LockFile   = "lock"  // flocked for as long as the shim lives
)

// StateFile is one line of decimal numbers:
//
//	SHIM-PID SHIM-START INIT-PID INIT-START STARTED
//
// where *-START is field 22 of /proc/PID/stat (a pid is reused, the pair is not)
// and STARTED the time of start in nanoseconds, 0 before it.
