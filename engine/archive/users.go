//go:build linux

package archive

import "golang.org/x/sys/unix"

// Users are a container's users as the host knows them: user 0 inside is Base outside. The zero value is for a container
// that has the host's.
type Users struct {
	Base, Size uint32
	// Everywhere says that all that is mounted shows the container's users; otherwise only the root file system does.
	Everywhere bool
}

// inside is a host's ID as the container has it. What is none of the container's stays as it is.
func (u Users) inside(id uint32) uint32 {
	if id >= u.Base && id-u.Base < u.Size {
		return id - u.Base
	}
	return id
}

// outside is the opposite.
func (u Users) outside(id int) int {
	if id >= 0 && uint32(id) < u.Size {
		return id + int(u.Base)
	}
	return id
}

// shows says whether what is in an open directory has the container's users.
func (u Users) shows(root, dir int) bool {
	var a, b unix.Stat_t
	return u.Size > 0 && (u.Everywhere || unix.Fstat(root, &a) == nil && unix.Fstat(dir, &b) == nil && a.Dev == b.Dev)
}
