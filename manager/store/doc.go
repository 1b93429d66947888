// Package store is the one truth of a cluster: typed tables in memory, changed only by
// the Raft log.
//
// View reads a consistent snapshot. Update runs a function against the newest state and
// proposes what it changed; concurrent Updates are grouped into one Raft entry. FSM.Apply is
// the only writer of memory. Watch and Follow tell of changes in commit order.
//
// Objects that come out of the store are shared and must not be changed: clone, change, Update.
// There is no clock, randomness or I/O inside a transaction.
//
// The API that the other packages of manager use:
//
//	s.View(func(tx *store.Tx))                          // read-only
//	err := s.Update(ctx, func(tx *store.Tx) error)      // fn may run more than once; an error aborts it alone
//	store.ErrNotLeader, ErrNotFound, ErrExists, ErrSequence (version conflict), ErrNameTaken
//
//	tx.Index() uint64                                    // Raft index of this snapshot
//	tx.Cluster() *api.Cluster                            // nil before init
//	tx.SetCluster(*api.Cluster)
//	tx.Nodes(), tx.Services(), tx.Revisions(), tx.Tasks(), tx.Networks()   // Table[*api.Node], ...
//
//	Table[T].Get(id) T                                   // nil if there is none
//	Table[T].List(...By) []T                             // sorted by id; no By: all
//	Table[T].Find(ref) (T, error)                        // ID, then exact name, then unique ID prefix
//	Table[T].Create(T) error                             // ErrExists, ErrNameTaken
//	Table[T].Update(T) error                             // ErrNotFound; ErrSequence if Meta.Version is not the stored one
//	Table[T].Delete(id) error                            // ErrNotFound
//
//	store.ByName(n), ByIDPrefix(p), ByService(id), ByNode(id), BySlot(service, slot), ByNetwork(id) // tasks/services that refer to a network
//
//	s.Follow(ctx, store.FollowOptions{Kinds, Resync, Debounce}, handle) error
//	   // handle(tx *store.Tx, events []store.Event) error: first with events == nil (resync: look at everything in tx),
//	   // then with the changes since; again with nil after an overflow and every Resync period. An error ends Follow.
//	   // Event{Kind api.ChangeKind, Old, New proto.Message}: Old or New may be nil.
//	s.Watch(ctx, kinds...) (<-chan []store.Event, func())  // raw; closed on overflow
//
//	store.New(nil) works alone in memory (index counts up by itself): for tests of control loops.
package store
