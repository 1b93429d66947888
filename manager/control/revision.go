package control

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// RevisionID is the row of a service's revision.
func RevisionID(service string, number uint64) string {
	return service + "." + strconv.FormatUint(number, 10)
}

// revised is the part of a spec that tasks depend on; see api.Revision.
func revised(spec *api.ServiceSpec) *api.ServiceSpec {
	spec = proto.CloneOf(spec)
	spec.Labels, spec.Update, spec.Rollback = nil, nil, nil
	if spec.Mode != nil {
		spec.Mode.Replicas = 0
	}
	return spec
}

// revise points svc at the revision of its spec: the current one if nothing changed that tasks depend on, an older
// one if the spec is equal to it again, else a new row.
func revise(tx *store.Tx, svc *api.Service) error {
	spec := revised(svc.Spec)
	var newest uint64
	for _, rev := range tx.Revisions().List(store.ByService(svc.Id)) {
		newest = max(newest, rev.Number)
		if proto.Equal(rev.Spec, spec) {
			point(svc, rev.Number)
			return nil
		}
	}
	number := newest + 1
	point(svc, number)
	return tx.Revisions().Create(&api.Revision{Id: RevisionID(svc.Id, number), ServiceId: svc.Id, Number: number, Spec: spec})
}

func point(svc *api.Service, number uint64) {
	if svc.Revision == number {
		return
	}
	svc.PreviousRevision, svc.Revision = svc.Revision, number
	svc.UpdateStatus = nil // the updater's word was about another revision
}

// goOn lets an update or rollback continue that was paused: whoever updates the service again has seen to it. To change
// the number of replicas is no such word.
func goOn(svc *api.Service, old *api.ServiceSpec, now *timestamppb.Timestamp) {
	if svc.Spec.GetMode().GetReplicas() != old.GetMode().GetReplicas() {
		return
	}
	switch svc.GetUpdateStatus().GetState() {
	case api.UpdateStatus_PAUSED:
		svc.UpdateStatus = nil
	case api.UpdateStatus_ROLLBACK_PAUSED:
		startRollback(svc, now)
	}
}

// startRollback makes the updater go by the rollback's settings.
func startRollback(svc *api.Service, now *timestamppb.Timestamp) {
	svc.UpdateStatus = &api.UpdateStatus{State: api.UpdateStatus_ROLLBACK_STARTED, StartedAt: now, Message: "rollback in progress"}
}

// rollback gives svc the spec of its previous revision back; replicas, labels and update settings stay as they are.
func rollback(tx *store.Tx, svc *api.Service, now *timestamppb.Timestamp) error {
	if svc.PreviousRevision == 0 {
		return refused("service %s has no previous version to roll back to", svc.Spec.Name)
	}
	rev := tx.Revisions().Get(RevisionID(svc.Id, svc.PreviousRevision))
	if rev == nil {
		return refused("the previous version of service %s is no longer kept", svc.Spec.Name)
	}
	spec := svc.Spec
	svc.Spec = proto.CloneOf(rev.Spec)
	svc.Spec.Labels, svc.Spec.Update, svc.Spec.Rollback = spec.Labels, spec.Update, spec.Rollback
	if svc.Spec.Mode != nil {
		svc.Spec.Mode.Replicas = spec.GetMode().GetReplicas()
	}
	point(svc, rev.Number)
	startRollback(svc, now)
	return nil
}
