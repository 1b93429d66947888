//go:build linux

package archive

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Kind is what happened to a path.
type Kind int

const (
	Modified Kind = iota
	Added
	Deleted
)

// Change is one path that differs from the image.
type Change struct {
	Kind Kind
	Path string // absolute
}

// differ compares two trees.
type differ struct {
	whole bool
	users Users
	hide  func(name string) bool
	out   []Change
}

// Changes lists how a container differs from its image, in order of the paths. upper is what overlayfs keeps of the
// container, lower what the image looks like. whole says that upper is a whole root file system instead: what is missing
// there is deleted. hide leaves out names, which are relative, and what is below them.
func Changes(upper, lower string, users Users, whole bool, hide func(name string) bool) ([]Change, error) {
	up, err := Open(upper)
	if err != nil {
		return nil, err
	}
	defer up.Close()
	low, err := Open(lower)
	if err != nil {
		return nil, err
	}
	defer low.Close()
	d := &differ{whole: whole, users: users, hide: hide}
	_, err = d.dir(up.fd, low.fd, "")
	slices.SortFunc(d.out, inOrder)
	return d.out, err
}

// dir compares two directories; low is -1 where the image has none. It says whether anything differs.
func (d *differ) dir(up, low int, name string) (bool, error) {
	before := len(d.out)
	err := eachName(up, name, func(base string) error { return d.entry(up, low, path.Join(name, base), base) })
	if err == nil && low >= 0 && (d.whole || isOpaque(up)) {
		err = eachName(low, name, func(base string) error { return d.missing(up, low, path.Join(name, base), base) })
	}
	return len(d.out) > before, err
}

// missing looks at a name of the image alone: those that both have are compared already.
func (d *differ) missing(up, low int, name, base string) error {
	switch err := unix.Faccessat(up, base, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW); err {
	case nil:
		return nil
	case unix.ENOENT:
		return d.entry(up, low, name, base)
	default:
		return fmt.Errorf("compare %s: %w", name, err)
	}
}

// inOrder compares paths as a walk does that takes each directory's names in order: what is in a directory follows it at once.
func inOrder(a, b Change) int {
	x, y := a.Path, b.Path
	for i := range min(len(x), len(y)) {
		switch {
		case x[i] == y[i]:
		case x[i] == '/':
			return -1
		case y[i] == '/':
			return 1
		default:
			return cmp.Compare(x[i], y[i])
		}
	}
	return cmp.Compare(len(x), len(y))
}

func (d *differ) entry(upDir, lowDir int, name, base string) error {
	if d.hide(name) {
		return nil
	}
	if err := tooLong(name); err != nil {
		return err
	}
	up, upSt, upGone, err := child(upDir, base)
	if err != nil {
		return fmt.Errorf("compare %s: %w", name, err)
	}
	if !upGone {
		defer unix.Close(up)
	}
	low, lowSt, lowGone := -1, unix.Stat_t{}, true
	if lowDir >= 0 {
		if low, lowSt, lowGone, err = child(lowDir, base); err != nil {
			return fmt.Errorf("compare %s: %w", name, err)
		}
		if !lowGone {
			defer unix.Close(low)
		}
	}
	switch {
	case upGone || isWhiteout(&upSt):
		if !lowGone {
			d.add(Deleted, name)
		}
		return nil
	case isDir(&upSt):
		return d.directory(up, low, &upSt, &lowSt, lowGone, name)
	case lowGone:
		d.add(Added, name)
	case !d.same(&upSt, &lowSt) || upSt.Size != lowSt.Size || upSt.Mtim != lowSt.Mtim:
		d.add(Modified, name)
	}
	return nil
}

// directory is modified if it, or anything below it, is.
func (d *differ) directory(up, low int, upSt, lowSt *unix.Stat_t, lowGone bool, name string) error {
	at := len(d.out)
	kind, certain := Modified, !d.same(upSt, lowSt)
	if lowGone {
		kind, certain = Added, true
	}
	if lowGone || !isDir(lowSt) {
		low = -1
	}
	d.add(kind, name)
	below, err := d.dir(up, low, name)
	if !below && !certain {
		d.out = d.out[:at]
	}
	return err
}

func (d *differ) same(up, low *unix.Stat_t) bool {
	return up.Mode == low.Mode && d.users.inside(up.Uid) == low.Uid && d.users.inside(up.Gid) == low.Gid && up.Rdev == low.Rdev
}

func (d *differ) add(k Kind, name string) { d.out = append(d.out, Change{k, "/" + name}) }
