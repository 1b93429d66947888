package control

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func server(t *testing.T, rows func(tx *store.Tx) error) *Server {
	t.Helper()
	st := store.New(nil)
	if rows != nil {
		if err := st.Update(context.Background(), rows); err != nil {
			t.Fatal(err)
		}
	}
	return New(st, Deps{
		Members: func() (string, map[string]bool, map[string]bool) {
			return "m1", map[string]bool{"m1": true, "m2": true, "new": true}, map[string]bool{"new": true}
		},
		NewToken: func([]byte) (string, error) { return "SHOAL-1-new", nil },
		CheckSettings: func(s *api.ServiceSpec) error {
			if s.Container.StopSignal == "SIGNONE" {
				return errors.New("unknown signal")
			}
			return nil
		},
		Logger: slog.New(slog.DiscardHandler),
	})
}

func spec(name string, change ...func(*api.ServiceSpec)) *api.ServiceSpec {
	s := &api.ServiceSpec{Name: name, Container: &api.ContainerSpec{Image: "web:1"}, Mode: &api.ServiceMode{Replicas: 2}}
	for _, c := range change {
		c(s)
	}
	return s
}

func publish(port uint32) func(*api.ServiceSpec) {
	return func(s *api.ServiceSpec) {
		s.Endpoint = &api.EndpointSpec{Ports: []*api.PortConfig{{PublishedPort: port, TargetPort: 80}}}
	}
}

func wantError(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	s, _ := status.FromError(err)
	if s.Code() != code || s.Message() != text {
		t.Errorf("got %s %q, want %s %q", s.Code(), s.Message(), code, text)
	}
}

func TestRefusals(t *testing.T) {
	s := server(t, func(tx *store.Tx) error {
		return tx.Networks().Create(&api.Network{Id: "net1", Spec: &api.NetworkSpec{Name: "app", Driver: "overlay"}})
	})
	ctx := context.Background()
	if _, err := s.CreateService(ctx, &api.CreateServiceRequest{Spec: spec("web", publish(8080))}); err != nil {
		t.Fatal(err)
	}
	on := func(n string) func(*api.ServiceSpec) {
		return func(s *api.ServiceSpec) { s.Networks = []*api.NetworkAttachmentSpec{{Network: n}} }
	}
	for _, tc := range []struct {
		name string
		spec *api.ServiceSpec
		code codes.Code
		want string
	}{
		{"no image", spec("a", func(s *api.ServiceSpec) { s.Container.Image = "" }), codes.InvalidArgument, "service a without an image"},
		{"bad name", spec("-a"), codes.InvalidArgument, `service name "-a": only letters, digits, '-', '_' and '.', with a letter or digit at both ends`},
		{"name taken", spec("web"), codes.AlreadyExists, "service web exists already: choose another name or remove it first"},
		{"port taken", spec("b", publish(8080)), codes.FailedPrecondition, "port 8080/tcp is already published by service web: choose another"},
		{"no such network", spec("c", on("nope")), codes.NotFound, "no such network: nope"},
		{"memory too low", spec("d", func(s *api.ServiceSpec) { s.Container.Limits = &api.ContainerLimits{MemoryBytes: 1} }), codes.InvalidArgument, "--limit-memory of 1 bytes is too low: at least 6m"},
		{"settings no node takes", spec("e", func(s *api.ServiceSpec) { s.Container.StopSignal = "SIGNONE" }), codes.InvalidArgument, "service e: unknown signal"},
		{"port on host network", spec("f", publish(1), on("host")), codes.InvalidArgument, "ports cannot be published on network host: the container has the host's ports"},
		{"too many replicas", spec("g", func(s *api.ServiceSpec) { s.Mode.Replicas = 1 << 63 }), codes.InvalidArgument, "9223372036854775808 replicas are too many: at most 1000000"},
		{"too large", spec("g", func(s *api.ServiceSpec) { s.Container.Env = []string{"A=" + strings.Repeat("a", 1<<20)} }), codes.InvalidArgument, "service g is too large: 1048600 bytes of settings, at most 1048576"},
		{"replicas of a global service", spec("g", func(s *api.ServiceSpec) { s.Mode.Global = true }), codes.InvalidArgument, "replicas can only be used with mode replicated"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := s.CreateService(ctx, &api.CreateServiceRequest{Spec: tc.spec})
			wantError(t, err, tc.code, tc.want)
		})
	}
	_, err := s.UpdateService(ctx, &api.UpdateServiceRequest{Ref: "web", Spec: spec("web", func(s *api.ServiceSpec) { s.Container.StopSignal = "SIGNONE" })})
	wantError(t, err, codes.InvalidArgument, "service web: unknown signal")
	got, err := s.CreateService(ctx, &api.CreateServiceRequest{Spec: spec("ok", on("app"))})
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Service.Spec.Networks[0].Network; n != "net1" {
		t.Errorf("network in the store is %q, want its ID net1", n)
	}
	_, err = s.RemoveNetwork(ctx, &api.RemoveNetworkRequest{Ref: "app"})
	wantError(t, err, codes.FailedPrecondition, "network app is in use by service ok: remove the service, or take it off the network first")
}

func TestRevisionsFollowWhatTasksDependOn(t *testing.T) {
	s, ctx := server(t, nil), context.Background()
	created, err := s.CreateService(ctx, &api.CreateServiceRequest{Spec: spec("web")})
	if err != nil {
		t.Fatal(err)
	}
	update := func(change func(*api.ServiceSpec)) *api.Service {
		t.Helper()
		now, err := s.GetService(ctx, &api.GetServiceRequest{Ref: "web"})
		if err != nil {
			t.Fatal(err)
		}
		sp := proto.CloneOf(now.Service.Spec)
		change(sp)
		r, err := s.UpdateService(ctx, &api.UpdateServiceRequest{Ref: "web", Version: now.Service.Meta.Version, Spec: sp})
		if err != nil {
			t.Fatal(err)
		}
		return r.Service
	}
	want := func(svc *api.Service, revision, previous uint64) {
		t.Helper()
		if svc.Revision != revision || svc.PreviousRevision != previous {
			t.Errorf("got revision %d after %d, want %d after %d", svc.Revision, svc.PreviousRevision, revision, previous)
		}
	}
	want(created.Service, 1, 0)
	want(update(func(s *api.ServiceSpec) { s.Mode.Replicas = 9 }), 1, 0)
	want(update(func(s *api.ServiceSpec) { s.Container.Image = "web:2" }), 2, 1)
	want(update(func(s *api.ServiceSpec) { s.Container.Image = "web:1" }), 1, 2)
	back, err := s.UpdateService(ctx, &api.UpdateServiceRequest{Ref: "web", Rollback: true})
	if err != nil {
		t.Fatal(err)
	}
	want(back.Service, 2, 1)
	if got := back.Service.Spec; got.Container.Image != "web:2" || got.Mode.Replicas != 9 {
		t.Errorf("rolled back to %s with %d replicas, want web:2 with the 9 of now", got.Container.Image, got.Mode.Replicas)
	}
	_, err = s.UpdateService(ctx, &api.UpdateServiceRequest{Ref: "web", Version: 1, Spec: spec("web")})
	wantError(t, err, codes.Aborted, "service web was changed by somebody else meanwhile: look again and repeat")
}

func TestRemovedServiceFreesItsName(t *testing.T) {
	s, ctx := server(t, nil), context.Background()
	for range 3 {
		if _, err := s.CreateService(ctx, &api.CreateServiceRequest{Spec: spec("web", publish(80))}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.RemoveService(ctx, &api.RemoveServiceRequest{Ref: "web"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.GetService(ctx, &api.GetServiceRequest{Ref: "web"})
	wantError(t, err, codes.NotFound, "no such service: web")
	if r, _ := s.ListServices(ctx, nil); len(r.Services) != 0 {
		t.Errorf("services on their way out are listed: %v", r.Services)
	}
}

func TestDemotionKeepsQuorum(t *testing.T) {
	node := func(id string) *api.Node {
		return &api.Node{Id: id, Spec: &api.NodeSpec{Role: api.NodeRole_MANAGER}, Role: api.NodeRole_MANAGER,
			Description: &api.NodeDescription{Hostname: "host-" + id}, ManagerStatus: &api.ManagerStatus{}}
	}
	s := server(t, func(tx *store.Tx) error {
		for _, id := range []string{"m1", "m2", "m3", "new"} {
			if err := tx.Nodes().Create(node(id)); err != nil {
				return err
			}
		}
		return nil
	})
	ctx := context.Background()
	demote := func(ref string) error {
		_, err := s.UpdateNode(ctx, &api.UpdateNodeRequest{Ref: ref, Spec: &api.NodeSpec{}})
		return err
	}
	// m3 does not answer, and the new one has no vote yet: without m2 only one of two would.
	wantError(t, demote("host-m2"), codes.FailedPrecondition, "cannot demote host-m2: only 1 of the 2 remaining managers answer, and they need a majority")
	if err := demote("m3"); err != nil {
		t.Fatal(err)
	}
	if err := demote("m2"); err != nil {
		t.Fatal(err)
	}
	wantError(t, demote("m1"), codes.FailedPrecondition, "cannot demote host-m1: it is the last manager; promote another node first")
}

// What a paused update waits for is a person, who updates the service again: with or without a change, but not by scaling it.
func TestPausedUpdateGoesOn(t *testing.T) {
	s, ctx := server(t, nil), context.Background()
	if _, err := s.CreateService(ctx, &api.CreateServiceRequest{Spec: spec("web")}); err != nil {
		t.Fatal(err)
	}
	next := func(replicas uint64) *api.ServiceSpec {
		return spec("web", func(s *api.ServiceSpec) { s.Container.Image, s.Mode.Replicas = "web:2", replicas })
	}
	update := func(r *api.UpdateServiceRequest) api.UpdateStatus_State {
		t.Helper()
		r.Ref = "web"
		got, err := s.UpdateService(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return got.Service.GetUpdateStatus().GetState()
	}
	pause := func(state api.UpdateStatus_State) {
		t.Helper()
		err := s.store.Update(ctx, func(tx *store.Tx) error {
			svc := proto.CloneOf(tx.Services().List(store.ByName("web"))[0])
			svc.UpdateStatus = &api.UpdateStatus{State: state}
			return tx.Services().Update(svc)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	update(&api.UpdateServiceRequest{Spec: next(2)})
	pause(api.UpdateStatus_PAUSED)
	if got := update(&api.UpdateServiceRequest{Spec: next(3)}); got != api.UpdateStatus_PAUSED {
		t.Errorf("scaled while paused: %v", got)
	}
	if got := update(&api.UpdateServiceRequest{Spec: next(3)}); got == api.UpdateStatus_PAUSED {
		t.Errorf("updated while paused: %v", got)
	}
	// A rollback goes by --rollback-parallelism and its like, by hand as well.
	if got := update(&api.UpdateServiceRequest{Rollback: true}); got != api.UpdateStatus_ROLLBACK_STARTED {
		t.Errorf("rolled back by hand: %v", got)
	}
	pause(api.UpdateStatus_ROLLBACK_PAUSED)
	if got := update(&api.UpdateServiceRequest{Spec: spec("web", func(s *api.ServiceSpec) { s.Mode.Replicas = 3 })}); got != api.UpdateStatus_ROLLBACK_STARTED {
		t.Errorf("updated while the rollback is paused: %v", got)
	}
}
