package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestSystemUsage(t *testing.T) {
	f := newFake(t)
	f.containers.containers = []*api.Container{
		{Id: strings.Repeat("a", 64), Name: "web", ImageName: "box:1", Command: []string{"x"}, State: api.ContainerState_CONTAINER_RUNNING, StartedAt: at(0), CreatedAt: at(0), SizeRw: 100, SizeRootFs: 2100},
		{Id: strings.Repeat("d", 64), Name: "old", SizeRw: 300},
	}
	r := f.run(t, "", "system", "df")
	want := `TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          2         1         3kB       2kB (66%)
Containers      2         1         400B      300B (75%)
Local Volumes   2         1         40B       30B (75%)
`
	if r.out != want {
		t.Errorf("%s%s", r.out, r.err)
	}
	if r := f.run(t, "", "system", "df", "--format", "{{.Type}}={{.Size}}"); r.out != "Images=3kB\nContainers=400B\nLocal Volumes=40B\n" {
		t.Errorf("%+v", r)
	}
	r = f.run(t, "", "system", "df", "-v")
	for _, want := range []string{"box          1         bbbbbbbbbbbb", "VOLUME NAME   LINKS     SIZE\ndata          1         10B", "Containers space usage:", "aaaaaaaaaaaa   box:1"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	format := "{{range .Images}}{{.Repository}} {{.UniqueSize}} {{.Containers}};{{end}}{{range .Containers}}{{.Names}} {{.Size}};{{end}}{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}};{{end}}{{len .BuildCache}}"
	if r := f.run(t, "", "system", "df", "-v", "--format", format); !strings.Contains(r.out, "web 100B;old 300B;data ") || !strings.HasSuffix(r.out, ";0\n") {
		t.Errorf("%+v", r)
	}
	var asked struct {
		Images     []struct{ Repository, SharedSize string }
		Containers []struct{ Names, Size string }
		Volumes    []struct{ Name, Links string }
		BuildCache []any
	}
	r = f.run(t, "", "system", "df", "-v", "--format", "json")
	if err := json.Unmarshal([]byte(r.out), &asked); err != nil || len(asked.Images) != 2 || asked.Containers[0].Size != "100B" || asked.Volumes[0].Name != "data" || asked.BuildCache == nil {
		t.Errorf("%v, %+v", err, r)
	}
	if r := f.run(t, "", "ps", "--format", "{{.Size}}"); r.out != "100B (virtual 2.1kB)\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "", "inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "web"); r.out != "100 2100\n" {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "", "container", "inspect", "--size", "-f", "{{.SizeRw}}", "web"); r.out != "100\n" {
		t.Errorf("%+v", r)
	}
}

func TestRemoveByForce(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "rm", "-f", "gone", "web"); r.code != 0 || r.out != "web\n" || !strings.Contains(r.err, "no such container: gone") {
		t.Errorf("%+v", r)
	}
	if r := f.run(t, "", "rm", "gone"); r.code != 1 {
		t.Errorf("%+v", r)
	}
}

// TestUsageText: numbers in --format json are texts, as Docker's are.
func TestUsageText(t *testing.T) {
	if r := usageRow("Images", 3, 1, 0, 0); r["TotalCount"] != "3" || r["Active"] != "1" {
		t.Errorf("%v", r)
	}
}
