package manager

import (
	"errors"
	"path"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/rescue"
)

// rescued answers a request; one that ends in a panic fails, whoever has sent it, and this manager goes on. Changes of rows are not half
// made by it: a transaction that does not come to its end leaves nothing.
func (m *Manager) rescued(method string, answer func() (any, error)) (out any, err error) {
	err = rescue.Call(m.log, path.Base(method), func() error {
		out, err = answer()
		return err
	})
	var p *rescue.Panicked
	if errors.As(err, &p) {
		return nil, status.Error(codes.Internal, p.Error())
	}
	return out, err
}
