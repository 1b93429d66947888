package store

import (
	"context"

	"github.com/shoal-dev/shoal/proto/api"
)

// Request is what a user asks for once, however often it is tried: the leader may be lost before it has answered. Rows remember which
// request wrote them last (Meta.request), so that the next leader knows whether it was carried out.
type Request struct {
	ID    string // "": nobody will try it again
	Again bool   // it was tried before, and nobody knows what became of it
}

type requestKey struct{}

// WithRequest says on whose behalf Updates are.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf returns what WithRequest said.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

// Done returns the row that the transaction's request has written in this table already, nil if it has not, or if another request has
// written the row since.
func (t Table[T]) Done() T {
	if t.tx.request != "" {
		for r := range t.All(By{index: indexRequest, key: t.tx.request}) {
			return r
		}
	}
	return t.zero
}

// ClusterDone is Done for the cluster's row.
func (tx *Tx) ClusterDone() *api.Cluster { return tx.clusters().Done() }

// requested is the request that a new version of a row is to remember: a loop of the leader that writes the row changes nothing in it.
func (tx *Tx) requested(old row) string {
	if tx.request != "" {
		return tx.request
	}
	return old0(old).GetRequest()
}

func requestIndex(r row) []string { return []string{r.GetMeta().GetRequest()} }
