//go:build linux

package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/engine/spec"
)

// account is one line of /etc/passwd.
type account struct {
	name     string
	uid, gid uint32
	home     string
}

// group is one line of /etc/group.
type group struct {
	name    string
	gid     uint32
	members string // with commas between them: as separate strings, those of a large file would be many times its size
}

func (g group) has(user string) bool {
	for m := range strings.SplitSeq(g.members, ",") {
		if m == user {
			return true
		}
	}
	return false
}

// lookupUser resolves USER[:GROUP], each a name or a number, and additional groups against the files of a root file
// system. Numbers need not be in them, names must.
func lookupUser(root, user string, extra []string) (spec.User, error) {
	accounts, err := readAccounts(root)
	if err != nil {
		return spec.User{}, err
	}
	groups, err := readGroups(root)
	if err != nil {
		return spec.User{}, err
	}
	return resolveUser(user, extra, accounts, groups)
}

func resolveUser(user string, extra []string, accounts []account, groups []group) (spec.User, error) {
	name, groupName, explicit := strings.Cut(user, ":")
	if name == "" {
		name = "0"
	}
	u, a, err := findAccount(name, accounts)
	if err != nil {
		return spec.User{}, err
	}
	if explicit && groupName != "" {
		if u.GID, err = findGroup(groupName, groups); err != nil {
			return spec.User{}, err
		}
	} else if a != nil {
		// As login does: all groups that name the user as a member.
		for _, g := range groups {
			if g.has(a.name) {
				u.Groups = append(u.Groups, g.gid)
			}
		}
	}
	for _, g := range extra {
		gid, err := findGroup(g, groups)
		if err != nil {
			return spec.User{}, err
		}
		if !slices.Contains(u.Groups, gid) {
			u.Groups = append(u.Groups, gid)
		}
	}
	// The first group is one of the others too: a file that shuts out its group must not open when a program drops the
	// first one (CVE-2022-36109).
	if !slices.Contains(u.Groups, u.GID) {
		u.Groups = append([]uint32{u.GID}, u.Groups...)
	}
	return u, nil
}

// findAccount takes a number for a user ID, whatever the image calls its users: one of the name 1000 could be root
// (CVE-2016-3697).
func findAccount(name string, accounts []account) (spec.User, *account, error) {
	uid, isID := parseID(name)
	for i, a := range accounts {
		if isID && a.uid == uid || !isID && !isNumber(name) && a.name == name {
			return spec.User{UID: a.uid, GID: a.gid, Home: a.home}, &accounts[i], nil
		}
	}
	switch {
	case isID:
		return spec.User{UID: uid}, nil, nil
	case isNumber(name):
		return spec.User{}, nil, errorf(ErrInvalid, "user %s: IDs go from 0 to %d", name, math.MaxInt32)
	}
	return spec.User{}, nil, errorf(ErrInvalid, "no user %q in the image's /etc/passwd", name)
}

func findGroup(name string, groups []group) (uint32, error) {
	gid, isID := parseID(name)
	switch {
	case isID:
		return gid, nil
	case isNumber(name):
		return 0, errorf(ErrInvalid, "group %s: IDs go from 0 to %d", name, math.MaxInt32)
	}
	for _, g := range groups {
		if g.name == name {
			return g.gid, nil
		}
	}
	return 0, errorf(ErrInvalid, "no group %q in the image's /etc/group", name)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// parseID reads a number that fits a user ID; the largest means "unchanged" to the kernel.
func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= math.MaxInt32
}

func readAccounts(root string) ([]account, error) {
	var out []account
	err := eachLine(root, "/etc/passwd", func(f []string) {
		if len(f) < 6 {
			return
		}
		uid, ok1 := parseID(f[2])
		gid, ok2 := parseID(f[3])
		if ok1 && ok2 {
			out = append(out, account{name: f[0], uid: uid, gid: gid, home: f[5]})
		}
	})
	return out, err
}

func readGroups(root string) ([]group, error) {
	var out []group
	err := eachLine(root, "/etc/group", func(f []string) {
		if len(f) < 3 {
			return
		}
		gid, ok := parseID(f[2])
		if !ok {
			return
		}
		g := group{name: f[0], gid: gid}
		if len(f) > 3 {
			g.members = f[3]
		}
		out = append(out, g)
	})
	return out, err
}

// maxAccountFile bounds what an image can make the daemon read.
const maxAccountFile = 16 << 20

// eachLine calls f with the fields of every line; a file that is not there has none.
func eachLine(root, name string, f func(fields []string)) error {
	at, err := inRoot(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	if info, err := at.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", at.Fd())) // that very file, which is none of a device
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(io.LimitReader(file, maxAccountFile))
	s.Buffer(nil, maxAccountFile) // a group may have very many members
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" && line[0] != '#' {
			f(strings.SplitN(line, ":", 8))
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the image's %s: %w", name, err)
	}
	return nil
}
