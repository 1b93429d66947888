//go:build linux

package engine

import (
	"os"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// CVE-2022-23648: a volume that an image declares is filled from the image, whatever its path or a link in the image names on
// the host; and it covers nothing that programs trust.
func TestImageChoosesNoPathOfTheHost(t *testing.T) {
	l := openLab(t)
	host := t.TempDir()
	if err := os.WriteFile(host+"/canary", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l.ended(l.run(request("maker", "mkdir -p /up; ln -s "+host+" /link; ln -s ../../../.."+host+" /up/link; mkdir -p "+host+"; echo mine >"+host+"/inside")))
	commit := func(name string, changes ...string) {
		t.Helper()
		if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "maker", Image: name, Changes: changes}); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range []string{"/link", "/up/link", "/../../.." + host, host} {
		name := "trap" + string(rune('0'+i)) + ":1"
		commit(name, `VOLUME ["`+path+`"]`)
		r := request("", "ls "+host)
		r.Spec.Image = name
		if got := l.logs(l.ended(l.run(r)).Id); got != "inside\n" {
			t.Errorf("VOLUME %s holds %q", path, got)
		}
	}
	for _, path := range []string{"/proc", "/proc/sys", "/proc/self/attr", "/proc/1/../sys"} {
		commit("cover:1", `VOLUME ["`+path+`"]`)
		r := request("", "true")
		r.Spec.Image = "cover:1"
		if err := l.Start(l.ctx(), l.create(r)); err == nil || !strings.Contains(err.Error(), "nothing but proc can be mounted there") {
			t.Errorf("VOLUME %s: %v", path, err)
		}
	}
}
