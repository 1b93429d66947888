package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestAskedMounts: what inspect shows as asked for makes the same mounts when it is asked for again.
func TestAskedMounts(t *testing.T) {
	for _, text := range []string{"/src:/d", "/src:/d:ro", "/src:/d:ro,rslave", "data:/d", "data:/d:ro,nocopy", "data:/d:z"} {
		m, err := parseVolume(text)
		if err != nil {
			t.Fatal(err)
		}
		binds, _ := askedMounts([]*api.Mount{m})["Binds"].([]string)
		if len(binds) != 1 {
			t.Errorf("%s: %v", text, binds)
			continue
		}
		again, err := parseVolume(binds[0])
		if diff := cmp.Diff(m, again, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s became %s: %v %s", text, binds[0], err, diff)
		}
	}
	for _, text := range []string{"/t", "/t:size=1m,mode=1770,exec", "/t:ro,uid=5"} {
		m, err := parseTmpfs(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseTmpfs("/t:" + askedMounts([]*api.Mount{m})["Tmpfs"].(map[string]string)["/t"])
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
	o := askedMounts(mounts)
	if others := o["Mounts"].([]any); len(others) != 3 || len(o["Binds"].([]string)) != 0 {
		t.Errorf("%v", o)
	}
	k := &api.Container{
		Spec: &api.ContainerSpec{Mounts: mounts},
		Mounts: []*api.MountPoint{
			{Type: "volume", Name: "data", Destination: "/c", Mount: mounts[2]}, {Type: "volume", Name: "f00", Destination: "/d", Mount: mounts[3]},
			{Type: "volume", Name: "bar", Destination: "/images"},
		},
	}
	if diff := cmp.Diff(map[string]any{"/d": map[string]any{}, "/images": map[string]any{}}, anonymousVolumes(k)); diff != "" {
		t.Error(diff)
	}
}
