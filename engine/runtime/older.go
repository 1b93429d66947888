//go:build linux

package runtime

import (
	"context"
	"errors"

	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// layout is the header that a container's shim understands: it may be of an older daemon. Records say so since there are two; of a shim
// whose record does not, a request tells that came with the second and that a shim which knows it refuses here.
func (s *Shoal) layout(ctx context.Context, rec record) (int, error) {
	if rec.Layout != 0 {
		return rec.Layout, nil
	}
	_, err := s.ask(ctx, rec.ID, wire.OpConsole, 0, nil)
	var refusal *shim.Error
	switch {
	case !errors.As(err, &refusal):
		return 0, err
	case refusal.Code == wire.CodeState:
		return wire.Layout, nil
	}
	return wire.LayoutFirst, nil
}
