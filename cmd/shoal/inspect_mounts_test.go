package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func shownMounts(mounts ...*api.Mount) (o hostConfigView) {
	o.setMounts(mounts)
	return o
}

// TestAskedMounts: what inspect shows as asked for makes the same mounts when it is asked for again.
func TestAskedMounts(t *testing.T) {
	for _, text := range []string{"/src:/d", "/src:/d:ro", "/src:/d:ro,rslave", "data:/d", "data:/d:ro,nocopy", "data:/d:z"} {
		m, err := parseVolume(text)
		if err != nil {
			t.Fatal(err)
		}
		binds := shownMounts(m).Binds
		if len(binds) != 1 {
			t.Errorf("%s: %v", text, binds)
			continue
		}
		again, err := parseVolume(binds[0])
		if diff := cmp.Diff(m, again, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s became %s: %v %s", text, binds[0], err, diff)
		}
	}
	for _, text := range []string{"/t", "/t:size=1m,mode=1770,exec", "/t:ro,uid=5", "/t:size=10%"} {
		m, err := parseTmpfs(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseTmpfs("/t:" + shownMounts(m).Tmpfs["/t"])
		if diff := cmp.Diff(m, again, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
}

// TestAskedMountsElsewhere: what no bind can say is in Mounts, an anonymous volume is in neither.
func TestAskedMountsElsewhere(t *testing.T) {
	mounts := []*api.Mount{
		{Type: api.Mount_BIND, Source: "/with:colon", Target: "/a", CreateSource: true},
		{Type: api.Mount_BIND, Source: "/must/be/there", Target: "/b"},
		{Type: api.Mount_VOLUME, Source: "data", Target: "/c", Subpath: "x"},
		{Type: api.Mount_VOLUME, Target: "/d"},
	}
	o := shownMounts(mounts...)
	if len(o.Mounts) != 3 || len(o.Binds) != 0 {
		t.Errorf("%v", o)
	}
	k := &api.Container{
		Spec: &api.ContainerSpec{Mounts: mounts},
		Mounts: []*api.MountPoint{
			{Type: "volume", Name: "data", Destination: "/c", Mount: mounts[2]}, {Type: "volume", Name: "f00", Destination: "/d", Mount: mounts[3]},
			{Type: "volume", Name: "bar", Destination: "/images"},
		},
	}
	if diff := cmp.Diff(map[string]struct{}{"/d": {}, "/images": {}}, anonymousVolumes(k)); diff != "" {
		t.Error(diff)
	}
}
