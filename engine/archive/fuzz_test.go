//go:build linux

package archive

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzExtract copies any bytes into a container that has laid out links, and back: nothing of what is outside changes or is read.
func FuzzExtract(f *testing.F) {
	needRoot(f)
	for _, entries := range [][]string{{"a/", "a/b:1", "l -> a"}, {"up/x:1"}, {"l -> ../out", "l/secret:2"}, {"h = out/secret", "h:3"}, {"in:file"}} {
		raw, err := io.ReadAll(tarOf(f, entries...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, "/")
		f.Add(raw, "up/../in/.")
	}
	f.Fuzz(func(t *testing.T, raw []byte, to string) {
		const outside = "nobody inside knows this"
		outer := tree(t, "out/", "out/secret:"+outside, "root/", "root/in/", "root/in/f:1")
		before := shape(t, outer+"/out")
		r := open(t, outer+"/root")
		for name, to := range map[string]string{"up": "../out", "out": outer + "/out", "file": "../out/secret"} {
			if err := os.Symlink(to, outer+"/root/"+name); err != nil {
				t.Fatal(err)
			}
		}
		r.Extract(context.Background(), to, bytes.NewReader(raw), ExtractOptions{})
		var out bytes.Buffer
		r.WriteAll(context.Background(), &out)
		r.Write(context.Background(), to, true, &out)
		if bytes.Contains(out.Bytes(), []byte(outside)) && !bytes.Contains(raw, []byte(outside)) {
			t.Error("what is outside was read")
		}
		if diff := cmp.Diff(before, shape(t, outer+"/out")); diff != "" {
			t.Errorf("outside changed:\n%s", diff)
		}
	})
}
