//go:build linux

package shim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/engine/shim/wire"
)

// ErrGone means that no shim answers: it has ended, or was killed.
var ErrGone = errors.New("shim is gone")

// Error is a request that the shim refused.
type Error struct {
	Code uint16 // wire.Code...
	Text string
}

func (e *Error) Error() string { return e.Text }

// Reply is one message of a shim.
type Reply struct {
	Op      uint8
	Arg     uint16
	Payload []byte
	File    *os.File // the descriptor that came along, if any
}

// Conn is a connection to a shim. One goroutine may send while another receives.
type Conn struct{ c *net.UnixConn }

// longestPath is what fits into a unix socket's address, in bytes.
const longestPath = 107

// Dial connects to the shim that lives in dir.
func Dial(dir string) (*Conn, error) {
	path := filepath.Join(dir, wire.SocketFile)
	if len(path) > longestPath {
		d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil, ErrGone
		}
		if err != nil {
			return nil, err
		}
		defer d.Close()
		path = filepath.Join("/proc/self/fd", strconv.Itoa(int(d.Fd())), wire.SocketFile)
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("connect to shim: %w", err)
	}
	return &Conn{c}, nil
}

// NewConn takes over one end of a socket pair.
func NewConn(fd int) (*Conn, error) {
	f := os.NewFile(uintptr(fd), "shim")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return &Conn{c.(*net.UnixConn)}, nil
}

// Close ends the connection and every call that waits on it.
func (c *Conn) Close() error { return c.c.Close() }

// Bound makes calls fail when ctx ends. The function it returns lifts that.
func (c *Conn) Bound(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, func() { c.c.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// Send writes one request, with descriptors for the shim to take over.
func (c *Conn) Send(op uint8, arg uint16, payload []byte, fds ...int) error {
	if len(payload) > wire.MaxFrame {
		return fmt.Errorf("request of %d bytes is larger than %d", len(payload), wire.MaxFrame)
	}
	b := make([]byte, wire.FrameSize, wire.FrameSize+len(payload))
	binary.LittleEndian.PutUint32(b, uint32(len(payload)))
	b[4], b[5] = wire.Version, op
	binary.LittleEndian.PutUint16(b[6:], arg)
	b = append(b, payload...)
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
		n, _, err := c.c.WriteMsgUnix(b, oob, nil)
		if err != nil {
			return gone(err)
		}
		b = b[n:]
	}
	_, err := c.c.Write(b)
	return gone(err)
}

// Receive reads one message.
func (c *Conn) Receive() (Reply, error) {
	var head [wire.FrameSize]byte
	var r Reply
	for n := 0; n < len(head); {
		oob := make([]byte, unix.CmsgSpace(4))
		k, on, _, _, err := c.c.ReadMsgUnix(head[n:], oob)
		if on > 0 {
			r.takeFile(oob[:on])
		}
		if err == nil && k == 0 {
			err = io.EOF
		}
		if err != nil {
			r.close()
			return Reply{}, gone(err)
		}
		n += k
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > wire.MaxFrame || head[4] != wire.Version {
		r.close()
		return Reply{}, fmt.Errorf("shim answers in protocol version %d, not %d", head[4], wire.Version)
	}
	r.Op, r.Arg = head[5], binary.LittleEndian.Uint16(head[6:])
	r.Payload = make([]byte, size)
	if _, err := io.ReadFull(c.c, r.Payload); err != nil {
		r.close()
		return Reply{}, gone(err)
	}
	return r, nil
}

func (r *Reply) takeFile(oob []byte) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			r.close()
			unix.SetNonblock(fd, true)
			r.File = os.NewFile(uintptr(fd), "terminal")
		}
	}
}

func (r *Reply) close() {
	if r.File != nil {
		r.File.Close()
		r.File = nil
	}
}

// Call sends a request and waits for its answer; a refusal is an *Error.
func (c *Conn) Call(ctx context.Context, op uint8, arg uint16, payload []byte, fds ...int) (Reply, error) {
	defer c.Bound(ctx)()
	if err := c.Send(op, arg, payload, fds...); err != nil {
		return Reply{}, errors.Join(ctx.Err(), err)
	}
	r, err := c.Receive()
	if err != nil {
		return r, errors.Join(ctx.Err(), err)
	}
	if r.Op == wire.OpErr {
		r.close()
		return Reply{}, &Error{r.Arg, string(r.Payload)}
	}
	return r, nil
}

// gone gives the several ways in which a peer can vanish one name.
func gone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return ErrGone
	}
	return err
}
