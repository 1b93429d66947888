//go:build linux

package engine

import (
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGroupsOnce: a group that a user has by the image and is given again is one group.
func TestGroupsOnce(t *testing.T) {
	accounts := []account{{name: "www", uid: 33, gid: 33}}
	groups := []group{{name: "www", gid: 33}, {name: "extra", gid: 77, members: "a,www"}}
	u, err := resolveUser("www", []string{"77", "extra", "5"}, accounts, groups)
	if want := []uint32{33, 77, 5}; err != nil || !slices.Equal(u.Groups, want) {
		t.Errorf("groups %v, %v, want %v", u.Groups, err, want)
	}
}

// TestNumbersAreIDs: what an image calls its users gives nobody the rights of another one (CVE-2016-3697, CVE-2024-40635).
func TestNumbersAreIDs(t *testing.T) {
	accounts := []account{{name: "1000", uid: 0, gid: 0, home: "/root"}, {name: "4294967296", uid: 0}, {name: "", uid: 7}}
	groups := []group{{name: "1000", gid: 0, members: "1000"}, {name: "all", gid: 5, members: ""}}
	u, err := resolveUser("1000:1000", []string{"1000"}, accounts, groups)
	if err != nil || u.UID != 1000 || u.GID != 1000 || !slices.Equal(u.Groups, []uint32{1000}) || u.Home != "" {
		t.Errorf("user 1000 is %+v, %v", u, err)
	}
	for _, user := range []string{"4294967296", "4294967295", "2147483648", "0:4294967296", "-1", "0:-1"} {
		if u, err := resolveUser(user, nil, accounts, groups); err == nil {
			t.Errorf("user %s is %+v", user, u)
		}
	}
}

// TestDevicesAreNotOpened: to open what an image has in place of a file may do something to the machine. A pipe tells.
func TestDevicesAreNotOpened(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(root+"/etc/passwd", 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() { // until somebody opens the other end
		f, err := os.OpenFile(root+"/etc/passwd", os.O_WRONLY, 0)
		f.Close()
		opened <- err
	}()
	end := func() {
		if f, err := os.OpenFile(root+"/etc/passwd", os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
			<-opened
			f.Close()
		}
	}
	for range 100 {
		if u, err := lookupUser(root, "7", nil); err != nil || u.UID != 7 {
			t.Errorf("user %+v, %v", u, err)
		}
		f, err := inRoot(root, "/etc/passwd")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	select {
	case <-opened:
		t.Error("the pipe has been opened")
	default:
		end()
	}
}

// FuzzAccounts reads any bytes as an image's files of users and groups: no more IDs than there are, and none beyond the kernel's.
func FuzzAccounts(f *testing.F) {
	f.Add("root:x:0:0::/root:/bin/sh\n", "root:x:0:\nwheel:x:10:root,me\n", "root", "wheel")
	f.Add("me:x:1000:1000:::\nme:x:-1:4294967295::", ":::\n::::::\na:b:3", "me:10", "")
	f.Add("\x00:x:99999999999:1:a:b:c:d:e", "g:x:5:a,,b,\n#c\n", "1:2:3", "5")
	f.Fuzz(func(t *testing.T, passwd, groups, user, extra string) {
		root := t.TempDir()
		if err := os.Mkdir(root+"/etc", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(root+"/etc/passwd", []byte(passwd), 0o644), os.WriteFile(root+"/etc/group", []byte(groups), 0o644)); err != nil {
			t.Fatal(err)
		}
		u, err := lookupUser(root, user, []string{extra})
		if err != nil {
			return
		}
		for _, id := range append([]uint32{u.UID, u.GID}, u.Groups...) {
			if id > math.MaxInt32 {
				t.Errorf("ID %d", id)
			}
		}
		if id, ok := parseID(user); ok && u.UID != id {
			t.Errorf("user %s is %d", user, u.UID)
		}
	})
}
