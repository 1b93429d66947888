package dns

import (
	"net/netip"
	"os"
	"syscall"

	"github.com/shoal-dev/shoal/nameserver"
)

// socketKey tells one listening address from another; a namespace that was made anew has another inode.
type socketKey struct {
	network string
	netns   string
	inode   uint64
	addr    netip.Addr
}

// open binds port 53 of k's address for UDP and TCP inside k's namespace.
func (s *Server) open(k socketKey) (*nameserver.Sockets, error) {
	return nameserver.Listen(k.netns, netip.AddrPortFrom(k.addr, 53), s.handler(k.network), s.log.With("network", k.network))
}

func inodeOf(path string) uint64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Sys().(*syscall.Stat_t).Ino
}
