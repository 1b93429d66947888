package control

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// CreateService stores a service and its first revision.
func (s *Server) CreateService(ctx context.Context, r *api.CreateServiceRequest) (*api.CreateServiceResponse, error) {
	if err := s.validate(r.Spec); err != nil {
		return nil, err
	}
	serviceID := id.New()
	var svc *api.Service
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if svc = tx.Services().Done(); svc != nil {
			return nil
		}
		svc = &api.Service{Id: serviceID, Spec: proto.CloneOf(r.Spec)}
		if err := resolve(tx, svc); err != nil {
			return err
		}
		if err := revise(tx, svc); err != nil {
			return err
		}
		return tx.Services().Create(svc)
	})
	if err != nil {
		return nil, toStatus(err, "service "+r.Spec.Name)
	}
	return &api.CreateServiceResponse{Service: svc}, nil
}

// resolve turns names in a spec into IDs and refuses what rows forbid.
func resolve(tx *store.Tx, svc *api.Service) error {
	for _, a := range svc.Spec.Networks {
		if a.Network == "host" || a.Network == "none" {
			if len(svc.Spec.Networks) > 1 {
				return invalid("network %s cannot be combined with others", a.Network)
			}
			continue
		}
		n, err := tx.Networks().Find(a.Network)
		if err != nil {
			return toStatus(err, "network: "+a.Network)
		}
		a.Network = n.Id
	}
	return portsFree(tx, svc)
}

// portsFree refuses a published port that another service has on every node.
func portsFree(tx *store.Tx, svc *api.Service) error {
	taken := map[string]*api.Service{}
	for _, other := range tx.Services().List() {
		if other.Id == svc.Id || other.PendingDelete {
			continue
		}
		for _, p := range append(other.Spec.GetEndpoint().GetPorts(), other.Endpoint.GetPorts()...) {
			if p.Mode == api.PublishMode_INGRESS && p.PublishedPort != 0 {
				taken[portKey(p)] = other
			}
		}
	}
	for _, p := range svc.Spec.GetEndpoint().GetPorts() {
		if other := taken[portKey(p)]; other != nil && p.Mode == api.PublishMode_INGRESS && p.PublishedPort != 0 {
			return refused("port %d/%s is already published by service %s: choose another", p.PublishedPort, protocol(p), other.Spec.Name)
		}
	}
	return nil
}

func portKey(p *api.PortConfig) string { return fmt.Sprintf("%d/%s", p.PublishedPort, protocol(p)) }

func protocol(p *api.PortConfig) string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// findService hides services that are on their way out.
func findService(tx *store.Tx, ref string) (*api.Service, error) {
	if ref == "" {
		return nil, invalid("name a service by its name or ID")
	}
	svc, err := tx.Services().Find(ref)
	if err == nil && svc.PendingDelete {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, toStatus(err, "service: "+ref)
	}
	return svc, nil
}

// ListServices returns all that are not being removed, and how many of their tasks run.
func (s *Server) ListServices(context.Context, *api.ListServicesRequest) (*api.ListServicesResponse, error) {
	r := &api.ListServicesResponse{}
	s.store.View(func(tx *store.Tx) {
		for _, svc := range tx.Services().List() {
			if !svc.PendingDelete {
				r.Services = append(r.Services, svc)
				r.Counts = append(r.Counts, counts(tx, svc))
			}
		}
	})
	return r, nil
}

// counts are running and wished tasks; for a global service wished is one for each node it should be on.
func counts(tx *store.Tx, svc *api.Service) *api.ServiceCounts {
	c := &api.ServiceCounts{ServiceId: svc.Id, Desired: svc.Spec.GetMode().GetReplicas()}
	global := svc.Spec.GetMode().GetGlobal()
	for _, t := range tx.Tasks().List(store.ByService(svc.Id)) {
		if t.DesiredState > api.TaskState_RUNNING {
			continue
		}
		if t.Status.GetState() == api.TaskState_RUNNING && !lost(tx, t) {
			c.Running++
		}
		if global {
			c.Desired++
		}
	}
	return c
}

// lost: what a node that is down last said is not what is.
func lost(tx *store.Tx, t *api.Task) bool {
	return tx.Nodes().Get(t.NodeId).GetStatus().GetState() == api.NodeStatus_DOWN
}

// GetService returns one.
func (s *Server) GetService(_ context.Context, r *api.GetServiceRequest) (*api.GetServiceResponse, error) {
	resp := &api.GetServiceResponse{}
	var err error
	s.store.View(func(tx *store.Tx) {
		if resp.Service, err = findService(tx, r.Ref); err == nil {
			resp.Counts = counts(tx, resp.Service)
		}
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// UpdateService replaces a spec, or brings the previous one back.
func (s *Server) UpdateService(ctx context.Context, r *api.UpdateServiceRequest) (*api.UpdateServiceResponse, error) {
	if !r.Rollback {
		if err := s.validate(r.Spec); err != nil {
			return nil, err
		}
	}
	var svc *api.Service
	now := timestamppb.Now()
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if svc = tx.Services().Done(); svc != nil {
			return nil
		}
		old, err := findService(tx, r.Ref)
		if err != nil {
			return err
		}
		if err := atVersion(old, r.Version, "service "+r.Ref); err != nil {
			return err
		}
		svc = proto.CloneOf(old)
		if r.Rollback {
			if err := rollback(tx, svc, now); err != nil {
				return err
			}
			return tx.Services().Update(svc)
		}
		if err := sameKind(old.Spec, r.Spec); err != nil {
			return err
		}
		svc.Spec = proto.CloneOf(r.Spec)
		if err := resolve(tx, svc); err != nil {
			return err
		}
		if err := revise(tx, svc); err != nil {
			return err
		}
		goOn(svc, old.Spec, now)
		return tx.Services().Update(svc)
	})
	if err != nil {
		return nil, toStatus(err, "service "+r.Ref)
	}
	return &api.UpdateServiceResponse{Service: svc}, nil
}

// sameKind refuses what an update cannot change.
func sameKind(old, spec *api.ServiceSpec) error {
	if old.Name != spec.Name {
		return invalid("a service cannot be renamed: create a new one")
	}
	if old.GetMode().GetGlobal() != spec.GetMode().GetGlobal() {
		return invalid("the mode of a service cannot be changed: create a new one")
	}
	return nil
}

// RemoveService marks a service as going. Its name is free at once: the row, which the orchestrator deletes with
// its last task, keeps a name that nobody can ask for.
func (s *Server) RemoveService(ctx context.Context, r *api.RemoveServiceRequest) (*api.RemoveServiceResponse, error) {
	var serviceID string
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if done := tx.Services().Done(); done != nil {
			serviceID = done.Id
			return nil
		}
		old, err := findService(tx, r.Ref)
		if err != nil {
			return err
		}
		svc := proto.CloneOf(old)
		svc.PendingDelete = true
		svc.Spec.Name = "." + old.Id + "." + old.Spec.Name
		serviceID = svc.Id
		return tx.Services().Update(svc)
	})
	if err = toStatus(err, "service "+r.Ref); gone(ctx, err) {
		return &api.RemoveServiceResponse{Id: r.Ref}, nil
	} else if err != nil {
		return nil, err
	}
	return &api.RemoveServiceResponse{Id: serviceID}, nil
}
