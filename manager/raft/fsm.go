package raft

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// machine carries committed entries into the store. A snapshot is a stream of length-delimited messages:
// one api.Snapshot with the index alone, then one api.Object a row.
type machine struct{ store *store.Store }

// Apply implements raft.FSM; the result is the error that the proposer gets.
func (m machine) Apply(l *raft.Log) any {
	cmd := &api.StoreCommand{}
	if err := proto.Unmarshal(l.Data, cmd); err != nil {
		return fmt.Errorf("log entry %d: %w", l.Index, err)
	}
	return m.store.Apply(l.Index, l.Term, cmd)
}

// Snapshot implements raft.FSM. Rows are never changed in place, so nothing is copied here.
func (m machine) Snapshot() (raft.FSMSnapshot, error) {
	return rows{m.store.Snapshot()}, nil
}

// Restore implements raft.FSM.
func (m machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	in := bufio.NewReader(r)
	o := protodelim.UnmarshalOptions{MaxSize: -1}
	snap := &api.Snapshot{}
	if err := o.UnmarshalFrom(in, snap); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	for {
		object := &api.Object{}
		if err := o.UnmarshalFrom(in, object); errors.Is(err, io.EOF) {
			return m.store.Restore(snap)
		} else if err != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
		snap.Objects = append(snap.Objects, object)
	}
}

type rows struct{ snap *api.Snapshot }

// Persist implements raft.FSMSnapshot.
func (r rows) Persist(sink raft.SnapshotSink) error {
	if err := r.write(sink); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

func (r rows) write(w io.Writer) error {
	out := bufio.NewWriter(w)
	if _, err := protodelim.MarshalTo(out, &api.Snapshot{Index: r.snap.Index}); err != nil {
		return err
	}
	for _, o := range r.snap.Objects {
		if _, err := protodelim.MarshalTo(out, o); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Release implements raft.FSMSnapshot.
func (rows) Release() {}
