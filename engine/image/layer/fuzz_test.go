//go:build linux

package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzLayer unpacks any bytes and looks whether anything appears outside of the layer.
func FuzzLayer(f *testing.F) {
	needRoot(f)
	f.Add(archive(f, dir("a"), dir("a/d"), file("a/d/x", "1"), file("a/d", "2"), sym("l", "/a"), file("l/y", "3"), hard("h", "a/d")).Bytes())
	f.Add(archive(f, file(".wh.x", ""), file(".wh..wh..opq", ""), tar.Header{Typeflag: tar.TypeChar, Name: "c", Devmajor: 1, Devminor: 3}).Bytes())
	f.Add(archive(f, tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}}).Bytes())
	f.Add(archive(f, sym("up", "../../../.."), file("up/tmp/x", "x"), hard("h", "up/etc/passwd")).Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		outer := t.TempDir()
		canary, root := filepath.Join(outer, "canary"), filepath.Join(outer, "root")
		if err := errors.Join(os.WriteFile(canary, []byte("c"), 0o600), os.Mkdir(root, 0o700)); err != nil {
			t.Fatal(err)
		}
		before := stat(t, canary)
		Extract(t.Context(), bytes.NewReader(raw), root) // an error is a fine answer
		if es := entries(t, outer); len(es) != 2 {
			t.Errorf("beside the layer: %v", es)
		}
		if diff := cmp.Diff(before, stat(t, canary)); diff != "" {
			t.Error(diff)
		}
	})
}
