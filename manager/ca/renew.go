package ca

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/proto/api"
)

// Renewer keeps a node's certificate fresh.
type Renewer struct {
	Identity *identity.Identity
	// Issue asks a manager, with the certificate that the node has.
	Issue  func(ctx context.Context, r *api.IssueRequest) (*api.IssueResponse, error)
	Logger *slog.Logger

	wanted chan identity.Role
}

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 30 * time.Second
	// rest is the least time between two renewals that succeed: to a node whose clock is far ahead each new certificate
	// seems to be near its end.
	rest = time.Minute
)

// NewRenewer returns a Renewer; Run does the work.
func NewRenewer(i *identity.Identity, issue func(context.Context, *api.IssueRequest) (*api.IssueResponse, error), l *slog.Logger) *Renewer {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &Renewer{Identity: i, Issue: issue, Logger: l, wanted: make(chan identity.Role, 1)}
}

// Want tells what role the node's row says now. If the certificate says otherwise, Run renews it until it does.
func (r *Renewer) Want(role api.NodeRole) {
	for {
		select {
		case r.wanted <- RoleOf(role):
			return
		case <-r.wanted: // an older wish
		}
	}
}

// Run renews the certificate when it is due or when another role is wanted. It returns when ctx ends.
func (r *Renewer) Run(ctx context.Context) error {
	want := r.Identity.Role()
	retry := time.Duration(0) // 0: nothing is failing
	var rested time.Time
	for {
		wait := max(time.Until(r.Identity.RenewAt()), time.Until(rested))
		if want != r.Identity.Role() {
			wait = 0
		}
		timer := time.NewTimer(max(wait, retry))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case role := <-r.wanted:
			timer.Stop()
			if role != want {
				want, retry = role, 0
			}
			continue
		case <-timer.C:
		}
		if err := r.renew(ctx); err != nil && ctx.Err() == nil {
			r.Logger.Warn("renewing the node's certificate failed, will try again", "error", err)
		} else if want == r.Identity.Role() {
			retry, rested = 0, time.Now().Add(rest)
			continue
		}
		retry = min(max(2*retry, retryFirst), retryMost)
	}
}

func (r *Renewer) renew(ctx context.Context) error {
	key, err := identity.NewKey()
	if err != nil {
		return err
	}
	csr, err := identity.NewRequest(key)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := r.Issue(ctx, &api.IssueRequest{Csr: csr})
	if err != nil {
		return fmt.Errorf("ask for a certificate: %w", err)
	}
	before := r.Identity.Role()
	if err := r.Identity.Replace(resp.Cert, key, resp.CaCert); err != nil {
		return err
	}
	r.Logger.Info("certificate renewed", "until", r.Identity.Info().NotAfter, "before", before, "role", r.Identity.Role())
	return nil
}
