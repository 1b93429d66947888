// Package busybox makes the root file system that tests run: a static busybox, the commands that it is, and two users.
package busybox

import (
	"archive/tar"
	"bytes"
	"strings"
	"time"
)

// applets are the commands that tests use.
var applets = strings.Fields(`sh echo cat ls ps sleep id mount umount ip hostname env nc wget httpd true false kill stat grep
	head tail dd touch mkdir mknod rm ln cp df ping awk sed tr date uname test stty tty readlink wc chmod chown printf sysctl dmesg
	nslookup seq sort cut sync find xargs dirname basename top mktemp tar md5sum`)

// Tar is the file system as an archive, exe being busybox. User bob is 1000:1000, also in group 2000.
func Tar(exe []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var err error
	add := func(h tar.Header, body []byte) {
		h.Size, h.ModTime = int64(len(body)), time.Unix(0, 0)
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = w.Write(body)
		}
	}
	for _, d := range []string{"bin/", "etc/", "root/", "home/", "proc/", "sys/", "dev/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, exe)
	for _, a := range applets {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + a, Linkname: "busybox"}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nbob:x:1000:\nmore:x:2000:bob\n"))
	if err == nil {
		err = w.Close()
	}
	return buf.Bytes(), err
}
