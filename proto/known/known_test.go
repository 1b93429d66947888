package known

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// newer is a field that no version has.
func newer() []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, 3000, protowire.VarintType), 1)
}

func TestMissing(t *testing.T) {
	limits := &api.ContainerLimits{Hugetlb: map[string]uint64{"2MB": 1}, ReadBps: []*api.DeviceRate{{Path: "/dev/a"}, {Path: "/dev/b"}}}
	r := &api.CreateContainerRequest{Name: "web", Spec: &api.ContainerSpec{Limits: limits, Args: []string{"a"}, Env: []string{"A=b"}}}
	if got := Missing(r); got != "" {
		t.Errorf("of a known request %q is missing", got)
	}
	for _, tc := range []struct {
		m    proto.Message
		want string
	}{
		{r, "field 3000 of CreateContainerRequest"},
		{limits, "field 3000 of ContainerLimits"},
		{limits.ReadBps[1], "field 3000 of DeviceRate"},
	} {
		tc.m.ProtoReflect().SetUnknown(newer())
		sent, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got := &api.CreateContainerRequest{}
		if err := proto.Unmarshal(sent, got); err != nil {
			t.Fatal(err)
		}
		if Missing(got) != tc.want {
			t.Errorf("%q is missing, want %q", Missing(got), tc.want)
		}
		tc.m.ProtoReflect().SetUnknown(nil)
	}
	if Missing(nil) != "" {
		t.Error("nothing lacks something")
	}
}
