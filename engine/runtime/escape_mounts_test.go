//go:build linux

package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// mountAttack is an attempt by an image, and by a container that shares a volume with the one that is being made, on what the
// runtime does below /proc and /dev. It succeeds if script does.
type mountAttack struct {
	name, script string
	image        func(*testing.T, *specs.Spec) // lays the trap
	weak         func(blob []byte, in *wire.Instr, was steps)
}

// steps knows what the steps of a program are called, whatever was written over it since, and which register is the root's.
type steps struct {
	labels map[wire.Span]string
	root   uint64
}

func (s steps) label(in *wire.Instr) string { return s.labels[in.Label] }

// panicTwice writes a parameter of the machine as it was.
const panicTwice = "cat %[1]s > /tmp/was && grep -q '^[0-9-]*$' /tmp/was && test -s /tmp/was && cat /tmp/was > %[1]s"

var mountAttacks = []mountAttack{
	{
		name:   "a link in place of /dev/null (CVE-2025-31133)",
		script: fmt.Sprintf(panicTwice, "/proc/keys"),
		image: func(t *testing.T, s *specs.Spec) {
			dev := t.TempDir() // as an image brings it that declares a volume there
			link(t, "/proc/sys/kernel/panic", dev+"/null")
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev") })
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev", Type: "bind", Source: dev, Options: []string{"rbind"}})
		},
		weak: func(_ []byte, in *wire.Instr, was steps) { // takes what the container has under that name
			if in.NR == unix.SYS_OPEN_TREE && strings.HasPrefix(was.label(in), "mask ") && in.Regs == 0 {
				in.Regs, in.Args[0], in.Args[1] = 1, was.root, in.Args[1]+1
				in.Args[2] &^= unix.AT_SYMLINK_NOFOLLOW
			}
		},
	},
	{
		name:   "/proc is a link into a volume, exchanged meanwhile (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642)",
		script: fmt.Sprintf(panicTwice, "/shared/real/sys/kernel/panic"),
		image: func(t *testing.T, s *specs.Spec) {
			shared := volume(t, s)
			if err := os.Mkdir(shared+"/proc", 0o755); err != nil {
				t.Fatal(err)
			}
			replaceByLink(t, s.Root.Path+"/proc", "/shared/proc")
			meanwhile(t, s, fmt.Sprintf("cd %s && mv proc real && mkdir -p proc/sys", shared))
		},
		weak: func(blob []byte, in *wire.Instr, was steps) {
			if name, ok := strings.CutPrefix(was.label(in), "make /"); ok && in.NR == unix.SYS_OPENAT2 {
				byPath(blob, in, was, strings.TrimSuffix(name, " read-only"))
			}
		},
	},
	{
		name:   "a parameter is written to a file that the image has at /proc (CVE-2025-52881)",
		script: "test -s /victim",
		image: func(t *testing.T, s *specs.Spec) {
			fake := t.TempDir()
			if err := errors.Join(os.MkdirAll(fake+"/sys/net/ipv4", 0o755), os.WriteFile(s.Root.Path+"/victim", nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			link(t, "/victim", fake+"/sys/net/ipv4/ip_unprivileged_port_start")
			link(t, "/proc", s.Root.Path+"/cover")
			s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/cover", Type: "bind", Source: fake, Options: []string{"rbind"}})
		},
		weak: func(blob []byte, in *wire.Instr, was steps) {
			if name, ok := strings.CutPrefix(was.label(in), "set sysctl "); ok && in.NR == unix.SYS_OPENAT2 {
				byPath(blob, in, was, "proc/sys/"+strings.ReplaceAll(name, ".", "/"))
			}
		},
	},
	{
		name:   "mounts on a link out of the root (CVE-2021-30465, CVE-2024-45310)",
		script: "cat /out/canary && ! test -e /tmp/inside/new",
		image: func(t *testing.T, s *specs.Spec) {
			out := volume(t, s)
			for i := range s.Mounts {
				if s.Mounts[i].Source == out {
					s.Mounts[i].Destination = "/out"
				}
			}
			replaceByLink(t, s.Root.Path+"/tmp/inside", out)
			if err := os.MkdirAll(s.Root.Path+out, 0o755); err != nil {
				t.Fatal(err)
			}
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp/inside/canary", Type: "bind", Source: "/etc/passwd", Options: []string{"bind", "ro"}})
		},
		weak: func(blob []byte, in *wire.Instr, was steps) {
			if in.NR == unix.SYS_OPENAT2 && strings.HasSuffix(was.label(in), "/canary") {
				binary.NativeEndian.PutUint64(blob[in.Args[2]+16:], 0)
			}
		},
	},
}

// TestMountEscapes: each fails, and succeeds with a runtime that goes by paths.
func TestMountEscapes(t *testing.T) {
	for _, a := range mountAttacks {
		t.Run(a.name, func(t *testing.T) {
			b := newBox(t, sh("("+a.script+") 2>&1"), func(s *specs.Spec) { a.image(t, s) })
			b.create()
			if err := b.rt.Start(b.ctx(), b.opts.ID); err != nil {
				t.Fatal(err)
			}
			if exit := b.wait(); exit.Code == 0 {
				t.Errorf("%s succeeded: %s", a.script, b.logged())
			}
			weak := newBox(t, sh("("+a.script+") 2>&1"), func(s *specs.Spec) { a.image(t, s) })
			weak.createWeak(a.weak)
			if err := weak.rt.Start(weak.ctx(), weak.opts.ID); err != nil {
				t.Fatal(err)
			}
			if exit := weak.wait(); exit.Code != 0 {
				t.Errorf("with a weakened runtime %s fails too: the attempt proves nothing: %s", a.script, weak.logged())
			}
		})
	}
}

// createWeak is createChanged for those who need to know what steps are called.
func (b *box) createWeak(change func([]byte, *wire.Instr, steps)) {
	was := steps{labels: map[wire.Span]string{}}
	b.createChanged(func(blob []byte, in *wire.Instr) {
		if _, ok := was.labels[in.Label]; !ok {
			was.labels[in.Label] = string(blob[in.Label.Off:][:in.Label.Len])
		}
		if was.label(in) == "open "+b.spec.Root.Path {
			was.root = uint64(in.Dst)
		}
		change(blob, in, was)
	})
}

// byPath makes a step open a path below the root, links followed. The path is written over what the step is called.
func byPath(blob []byte, in *wire.Instr, was steps, path string) {
	copy(blob[in.Label.Off:], path+"\x00")
	in.Args[0], in.Args[1] = was.root, uint64(in.Label.Off)
	binary.NativeEndian.PutUint64(blob[in.Args[2]+16:], unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// volume is a directory that the container has at /shared, and somebody else as well.
func volume(t *testing.T, s *specs.Spec) string {
	dir := t.TempDir()
	mount := specs.Mount{Destination: "/shared", Type: "bind", Source: dir, Options: []string{"rbind"}}
	s.Mounts = append([]specs.Mount{mount}, s.Mounts...)
	return dir
}

// meanwhile has the host do what another container could, between the mounts and what follows.
func meanwhile(t *testing.T, s *specs.Spec, script string) {
	s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{hook(t, script)}}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(to, at)); err != nil {
		t.Fatal(err)
	}
}

func replaceByLink(t *testing.T, at, to string) {
	t.Helper()
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	link(t, to, at)
}
