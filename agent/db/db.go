// Package db keeps what a node was told and what became of its tasks, in one bbolt file, so that a daemon that
// starts with no manager in reach goes on where it was.
//
// Buckets: "assignments" holds api.Assignment by Key, "status" holds api.TaskStatus by task ID, "meta" holds the
// Raft index that the assignments stand for ("index", 8 bytes big endian) and the managers ("managers", an
// api.SessionMessage of which only that field is set). It interprets nothing.
package db

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

var (
	bucketAssignments = []byte("assignments")
	bucketStatus      = []byte("status")
	bucketMeta        = []byte("meta")
	keyIndex          = []byte("index")
	keyManagers       = []byte("managers")
)

// DB is open in one process at a time. Its methods may be called concurrently.
type DB struct{ bolt *bbolt.DB }

// Open opens or makes the file. It fails after a second if another process has it open.
func Open(path string) (*DB, error) {
	b, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open the agent's database %s (is another daemon using it?): %w", path, err)
	}
	err = b.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketAssignments, bucketStatus, bucketMeta} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("prepare the agent's database %s: %w", path, err)
	}
	return &DB{b}, nil
}

// Close waits for running calls.
func (d *DB) Close() error { return d.bolt.Close() }

// Content is everything in the database.
type Content struct {
	Index       uint64
	Assignments []*api.Assignment
	Status      map[string]*api.TaskStatus // by task
	Managers    []*api.WeightedManager
}

// Load reads everything.
func (d *DB) Load() (Content, error) {
	c := Content{Status: map[string]*api.TaskStatus{}}
	err := d.bolt.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketMeta).Get(keyIndex); len(v) == 8 {
			c.Index = binary.BigEndian.Uint64(v)
		}
		var m api.SessionMessage
		if err := proto.Unmarshal(tx.Bucket(bucketMeta).Get(keyManagers), &m); err != nil {
			return fmt.Errorf("managers: %w", err)
		}
		c.Managers = m.Managers
		err := tx.Bucket(bucketAssignments).ForEach(func(k, v []byte) error {
			a := &api.Assignment{}
			if err := proto.Unmarshal(v, a); err != nil {
				return fmt.Errorf("assignment %s: %w", k, err)
			}
			c.Assignments = append(c.Assignments, a)
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketStatus).ForEach(func(k, v []byte) error {
			s := &api.TaskStatus{}
			if err := proto.Unmarshal(v, s); err != nil {
				return fmt.Errorf("status of task %s: %w", k, err)
			}
			c.Status[string(k)] = s
			return nil
		})
	})
	if err != nil {
		return Content{}, fmt.Errorf("read the agent's database %s: %w", d.bolt.Path(), err)
	}
	return c, nil
}

// Apply stores what a message of the managers changes. After it returns the change survives a crash.
func (d *DB) Apply(m *api.AssignmentsMessage) error {
	return d.update("store assignments", func(tx *bbolt.Tx) error {
		if m.Type == api.AssignmentsMessage_COMPLETE {
			if err := tx.DeleteBucket(bucketAssignments); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(bucketAssignments); err != nil {
				return err
			}
		}
		for _, a := range m.Changes {
			if err := put(tx.Bucket(bucketAssignments), Key(a), a, a.Remove); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyIndex, binary.BigEndian.AppendUint64(nil, m.Index))
	})
}

// SetStatus stores the status of tasks; a nil one is forgotten.
func (d *DB) SetStatus(status map[string]*api.TaskStatus) error {
	return d.update("store task status", func(tx *bbolt.Tx) error {
		for id, s := range status {
			if err := put(tx.Bucket(bucketStatus), id, s, s == nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetManagers stores whom to talk to.
func (d *DB) SetManagers(managers []*api.WeightedManager) error {
	return d.update("store managers", func(tx *bbolt.Tx) error {
		return put(tx.Bucket(bucketMeta), string(keyManagers), &api.SessionMessage{Managers: managers}, false)
	})
}

func (d *DB) update(what string, fn func(*bbolt.Tx) error) error {
	if err := d.bolt.Update(fn); err != nil {
		return fmt.Errorf("%s in %s: %w", what, d.bolt.Path(), err)
	}
	return nil
}

func put(b *bbolt.Bucket, key string, m proto.Message, remove bool) error {
	if remove {
		return b.Delete([]byte(key))
	}
	v, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), v)
}

// Key names what an assignment is about: equal keys replace each other.
func Key(a *api.Assignment) string {
	switch k := a.Kind.(type) {
	case *api.Assignment_Task:
		return "task/" + k.Task.Id
	case *api.Assignment_Revision:
		return "revision/" + k.Revision.Id
	case *api.Assignment_Network:
		return "network/" + k.Network.Id
	case *api.Assignment_Endpoint:
		return "endpoint/" + k.Endpoint.NetworkId + "/" + k.Endpoint.TaskId
	case *api.Assignment_Service:
		return "service/" + k.Service.Id
	case *api.Assignment_Peer:
		return "peer/" + k.Peer.NodeId
	}
	return "unknown"
}
