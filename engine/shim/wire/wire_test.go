package wire

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestFrozen: shims of older daemons live as long as their containers. What is in a frame or a blob keeps its place and its number; a
// change here is a new Layout or Version, which the daemon must be able to speak besides (engine/runtime/older.go).
func TestFrozen(t *testing.T) {
	for want, of := range map[string]any{
		"Magic:0 Size:8 CloneFlags:16 NInstr:24 NOpen:28 NJoin:32 NReloc:36 Flags:40 Cgroup:44 UIDMap:48 GIDMap:56 OOMFile:64 LogPath:72 PidFile:80 LogMax:88 LogFiles:96 Width:100 Height:102 =104": Header{},
		"NR:0 Label:4 OnErr:12 OnOK:14 OkErr:16 Fail:18 Dst:19 Regs:20 _:21 Args:32 =80":                                                                                                             Instr{},
		"Path:0 Flags:8 Reg:12 =16":    Open{},
		"Path:0 Type:8 _:12 =16":       Join{},
		"Kind:0 PC:4 Value:8 _:12 =16": Msg{},
		"Len:0 Ver:4 Op:5 Arg:6 =8":    Frame{},
		"Off:0 Len:4 =8":               Span{},
	} {
		v := reflect.TypeOf(of)
		var b strings.Builder
		for i := range v.NumField() {
			fmt.Fprintf(&b, "%s:%d ", v.Field(i).Name, v.Field(i).Offset)
		}
		if got := fmt.Sprintf("%s=%d", b.String(), v.Size()); got != want {
			t.Errorf("%s is\n%s, was\n%s", v.Name(), got, want)
		}
	}
	for name, n := range map[string][2]int{
		"OpCreate": {OpCreate, 1}, "OpStart": {OpStart, 3}, "OpKill": {OpKill, 4}, "OpResize": {OpResize, 5}, "OpWait": {OpWait, 6}, "OpAttach": {OpAttach, 7},
		"OpRunExec": {OpRunExec, 8}, "OpOK": {OpOK, 9}, "OpErr": {OpErr, 10}, "OpExit": {OpExit, 11}, "OpStdin": {OpStdin, 12}, "OpStdinClose": {OpStdinClose, 13},
		"OpStdout": {OpStdout, 14}, "OpStderr": {OpStderr, 15}, "OpEOF": {OpEOF, 16}, "OpConsole": {OpConsole, 17}, "OpHooks": {OpHooks, 18}, "OpGoOn": {OpGoOn, 19},
		"CodeFailed": {CodeFailed, 1}, "CodeNoCommand": {CodeNoCommand, 2}, "CodeNoRun": {CodeNoRun, 3}, "CodeNotRunning": {CodeNotRunning, 4},
		"CodeVersion": {CodeVersion, 5}, "CodeState": {CodeState, 6},
		"FlagTTY": {FlagTTY, 1}, "FlagStdin": {FlagStdin, 2}, "FlagNoPID": {FlagNoPID, 4}, "FlagNested": {FlagNested, 8}, "FlagAdopt": {FlagAdopt, 16},
		"DoStore32": {DoStore32, 0x10001}, "DoAwait": {DoAwait, 0x10002}, "DoExec": {DoExec, 0x10003}, "DoExecFail": {DoExecFail, 0x10004},
		"DoCheckCwd": {DoCheckCwd, 0x10005}, "DoFork": {DoFork, 0x10006}, "DoReap": {DoReap, 0x10007}, "DoExit": {DoExit, 0x10008}, "DoSignals": {DoSignals, 0x10009},
		"ExecHook": {ExecHook, 1}, "ExecTied": {ExecTied, 2}, "Version": {Version, 1},
		"RegSync": {RegSync, 1}, "RegPidfd": {RegPidfd, 5}, "RegExec": {RegExec, 6}, "RegFree": {RegFree, 7},
		"FailAbort": {FailAbort, 0}, "FailIgnore": {FailIgnore, 1}, "FailWarn": {FailWarn, 2}, "FailJump": {FailJump, 3},
	} {
		if n[0] != n[1] {
			t.Errorf("%s is %d, was %d", name, n[0], n[1])
		}
	}
}
