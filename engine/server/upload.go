//go:build linux

package server

// upload reads the data that a client's messages carry.
type upload[M interface{ GetData() []byte }] struct {
	stream interface{ Recv() (M, error) }
	rest   []byte // of the message before
}

func (u *upload[M]) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		m, err := u.stream.Recv()
		if err != nil {
			return 0, err
		}
		u.rest = m.GetData()
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}
