//go:build linux

package seccomp

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// tableSpans lists the treatment of all numbers of one table, ascending.
func tableSpans(p *specs.LinuxSeccomp, def uint32, t table) ([]span, error) {
	rules := map[uint32]*rule{}
	last := t.mask
	for _, s := range p.Syscalls {
		act, err := action(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, fmt.Errorf("seccomp rule for %v: %w", s.Names, err)
		}
		for _, name := range s.Names {
			n, ok := t.number(name)
			if !ok {
				continue
			}
			last = max(last, n)
			r := rules[n]
			if r == nil {
				r = &rule{fallback: def}
				rules[n] = r
			}
			if len(s.Args) == 0 {
				r.fallback = act
			} else if err := r.add(s.Args, act); err != nil {
				return nil, fmt.Errorf("seccomp rule for %s: %w", name, err)
			}
		}
	}
	numbers := make([]uint32, 0, len(rules))
	for n := range rules {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	spans := []span{{from: t.mask, rule: rule{fallback: def}}}
	for _, n := range numbers {
		spans = append(spans, span{n, *rules[n]}, span{n + 1, rule{fallback: def}})
	}
	return append(spans, span{last + 1, rule{fallback: tooNew(def)}}), nil
}

// rule is what happens to one system call: the first entry whose conditions all
// hold decides, then the fallback.
type rule struct {
	conditional []entry
	fallback    uint32
}

type entry struct {
	args   []specs.LinuxSeccompArg
	action uint32
}

// span is a run of system call numbers that are treated alike.
type span struct {
	from uint32 // up to the next span's from
	rule rule
}

// add notes a conditional rule. Conditions on the same argument are alternatives
// (the old way to write a set of values), those on different ones must all hold.
func (r *rule) add(args []specs.LinuxSeccompArg, act uint32) error {
	count := map[uint]int{}
	for _, a := range args {
		if a.Index > 5 {
			return fmt.Errorf("there is no argument %d", a.Index)
		}
		count[a.Index]++
	}
	for _, n := range count {
		if n > 1 {
			for _, a := range args {
				r.conditional = append(r.conditional, entry{[]specs.LinuxSeccompArg{a}, act})
			}
			return nil
		}
	}
	r.conditional = append(r.conditional, entry{args, act})
	return nil
}

// tooNew is what calls behind the profile's last one get.
func tooNew(def uint32) uint32 {
	if def&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return def
}

// noX32 answers as a kernel without x32 does. A profile that names what is forbidden
// and does not list x32 would otherwise be walked around by setting one bit.
func noX32(t table) span {
	return span{t.x32Bit, rule{fallback: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}}
}
