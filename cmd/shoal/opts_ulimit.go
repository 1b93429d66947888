package main

import (
	"fmt"

	units "github.com/docker/go-units"

	"github.com/shoal-dev/shoal/proto/api"
)

// ulimitOpt is --ulimit: NAME=SOFT[:HARD].
type ulimitOpt struct{ values []*api.Ulimit }

func (u *ulimitOpt) String() string { return "" }

func (u *ulimitOpt) Type() string { return "ulimit" }

func (u *ulimitOpt) Set(s string) error {
	l, err := units.ParseUlimit(s)
	if err != nil {
		return fmt.Errorf("expected NAME=SOFT[:HARD]: %w", err)
	}
	u.values = append(u.values, &api.Ulimit{Name: l.Name, Soft: l.Soft, Hard: l.Hard})
	return nil
}
