//go:build linux

package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestCommit(t *testing.T) {
	l := openLab(t)
	r := request("one", "rm /bin/sed; mkdir -p /opt/new; echo hi >/opt/new/f; rm -r /home; mkdir /home; touch /home/h; echo v >/data/v; echo ready; sleep 1000")
	r.NetworkMode = ""
	r.Spec.Env, r.Spec.Labels, r.Spec.Workdir = []string{"A=1"}, map[string]string{"l": "1"}, "/opt"
	r.Spec.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Target: "/data"}}
	id := l.run(r)
	l.exec(id, "while ! test -e /data/v; do sleep 0.01; done")
	made, err := l.Commit(l.ctx(), &api.CommitRequest{
		Ref: "one", Image: "new:2", Author: "me", Message: "a message", Changes: []string{"ENV B=2", `CMD ["sh","-c","echo $A $B $PWD; ls /opt/new /home /data; ls /bin/sed"]`}, Pause: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Top(l.ctx(), id, nil); err != nil {
		t.Fatal(err)
	}
	var told []string
	err = l.Watch(l.ctx(), time.Time{}.Add(time.Second), time.Now(), func(ev *api.Event) error {
		told = append(told, ev.Type+" "+ev.Action)
		return nil
	})
	if err != nil || !slices.Contains(told, "image tag") || told[len(told)-1] != "container top" {
		t.Errorf("%v, %v", told, err)
	}
	if row := l.row(id); row.State != api.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %v", row.State)
	}
	l.exec(id, "true") // not frozen any more
	img, err := l.Images().Get(l.ctx(), "new:2")
	if err != nil || img.Id != made || len(img.Layers) != 2 {
		t.Fatal(img, err)
	}
	spec, err := image.ParseSpec(img.Config)
	if err != nil {
		t.Fatal(err)
	}
	last := spec.History[len(spec.History)-1]
	if spec.Author != "me" || last.Comment != "a message" || spec.Config.Labels["l"] != "1" || !slices.Equal(spec.Config.Env, []string{"A=1", "B=2"}) {
		t.Errorf("config %s", img.Config)
	}
	two := request("two", "")
	two.Spec = &api.ContainerSpec{Image: "new:2"}
	l.ended(l.run(two))
	if got := l.logs("two"); got != "1 2 /opt\n/data:\n\n/home:\nh\n\n/opt/new:\nf\nls: /bin/sed: No such file or directory\n" {
		t.Errorf("the new image runs as %q", got)
	}
	if got := l.diff("two"); got != "" {
		t.Errorf("a container of it differs: %q", got)
	}
}

func TestCommitNothing(t *testing.T) {
	l := openLab(t)
	l.create(request("one", "true"))
	if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "one", Image: "same"}); err != nil {
		t.Fatal(err)
	}
	img, err := l.Images().Get(l.ctx(), "same:latest")
	if err != nil || len(img.Layers) != 1 || !strings.Contains(string(img.Config), `"empty_layer":true`) {
		t.Errorf("%v, %v", img, err)
	}
	for change, kind := range map[string]error{"RUN true": image.ErrInvalid, "": image.ErrInvalid} {
		if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "one", Changes: []string{change}}); !errors.Is(err, kind) {
			t.Errorf("%q: %v", change, err)
		}
	}
	if _, err := l.Images().Remove(l.ctx(), "box:1", true); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(l.ctx(), &api.CommitRequest{Ref: "one"}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("without its image: %v", err)
	}
}
