//go:build linux

package overlay

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// measure finds what the underlay allows: the size of packets and who computes checksums.
func (o *Overlay) measure(v *view) error {
	link, err := o.host.linkOf(o.cfg.VTEP)
	if err != nil {
		return err
	}
	// Outer Ethernet header inside the outer packet: 14, VXLAN 8, UDP 8, IP 20 or 40.
	v.mtu = link.Attrs().MTU - 50
	if o.cfg.VTEP.Is6() {
		v.mtu = link.Attrs().MTU - 70
	}
	if v.mtu < 1280 {
		v.problem("interface %s has MTU %d: too small to carry IPv6 in a tunnel", link.Attrs().Name, link.Attrs().MTU)
	}
	v.looseRPF = "0"
	return o.host.ns.Do(func() error {
		if got, err := os.ReadFile("/proc/sys/net/ipv4/conf/all/rp_filter"); err == nil && strings.TrimSpace(string(got)) != "0" {
			v.looseRPF = "2" // the stricter of "all" and the link's own holds, but 2 is looser than 1 and wins by size
		}
		v.offload = o.cfg.Offload == OffloadOn || o.cfg.Offload == OffloadAuto && kernelAtLeast(5, 7) && !brokenDrivers[driver(link.Attrs().Name)]
		return nil
	})
}

// linkOf finds the link that carries an address.
func (s *space) linkOf(a netip.Addr) (netlink.Link, error) {
	for i := 0; ; i++ {
		addrs, err := s.h.AddrList(nil, unix.AF_UNSPEC)
		if errors.Is(err, netlink.ErrDumpInterrupted) && i < 20 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		for _, x := range addrs {
			if ip, ok := netip.AddrFromSlice(x.IP); ok && ip.Unmap() == a {
				return s.h.LinkByIndex(x.LinkIndex)
			}
		}
		return nil, fmt.Errorf("no interface has the data path address %s", a)
	}
}

// brokenDrivers send VXLAN packets with wrong inner checksums when asked to compute them.
var brokenDrivers = map[string]bool{"vmxnet3": true}

func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, _ := strconv.Atoi(parts[0])
	b, _ := strconv.Atoi(strings.TrimRight(parts[1], "-+abcdefghijklmnopqrstuvwxyz"))
	return a > major || a == major && b >= minor
}

// driver names the driver of a link of the calling thread's namespace, "" if it has none.
func driver(link string) string {
	var info struct {
		cmd     uint32
		driver  [32]byte
		padding [164]byte
	}
	info.cmd = unix.ETHTOOL_GDRVINFO
	if ethtool(link, unsafe.Pointer(&info)) != nil {
		return ""
	}
	return unix.ByteSliceToString(info.driver[:])
}

// checksumOff makes the kernel compute checksums before packets enter a link of the calling thread's namespace.
func checksumOff(link string) error {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM}
	return ethtool(link, unsafe.Pointer(&value))
}

func ethtool(link string, data unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	req.data = data
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("ethtool %s: %w", link, errno)
	}
	return nil
}

func isLinkNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound)
}
