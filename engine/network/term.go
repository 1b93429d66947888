//go:build linux

package network

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// term is one match or verdict, as text and as what the kernel takes.
type term struct {
	text  string
	exprs func(maps map[string]*nftables.Set) []expr.Any
}

func fixed(text string, exprs ...expr.Any) term {
	return term{text, func(map[string]*nftables.Set) []expr.Any { return exprs }}
}

func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func iface(text string, key expr.MetaKey, op expr.CmpOp, name string) term {
	return fixed(fmt.Sprintf(text, name),
		&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: ifname(name)})
}

func iif(name string) term { return iface("iifname %q", expr.MetaKeyIIFNAME, expr.CmpOpEq, name) }
func oif(name string) term { return iface("oifname %q", expr.MetaKeyOIFNAME, expr.CmpOpEq, name) }
func notIif(name string) term {
	return iface("iifname != %q", expr.MetaKeyIIFNAME, expr.CmpOpNeq, name)
}
func notOif(name string) term {
	return iface("oifname != %q", expr.MetaKeyOIFNAME, expr.CmpOpNeq, name)
}

// Offsets of addresses in the two headers.
const (
	saddr4, daddr4 = 12, 16
	saddr6, daddr6 = 8, 24
)

func saddr(p netip.Prefix) term { return address("saddr", p, saddr4, saddr6) }
func daddr(p netip.Prefix) term { return address("daddr", p, daddr4, daddr6) }

func address(what string, p netip.Prefix, off4, off6 uint32) term {
	family, proto, offset := "ip", byte(unix.NFPROTO_IPV4), off4
	if p.Addr().Is6() {
		family, proto, offset = "ip6", unix.NFPROTO_IPV6, off6
	}
	size := uint32(p.Addr().BitLen() / 8)
	mask := make([]byte, size)
	for i := range p.Bits() {
		mask[i/8] |= 1 << (7 - i%8)
	}
	return fixed(fmt.Sprintf("%s %s %s", family, what, p),
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

// Offsets in the headers of TCP and UDP.
const (
	sportOffset, dportOffset = 0, 2
	udpChecksum, tcpChecksum = 6, 16
)

// portIs matches the port at an offset of the header of a protocol, tcp or udp.
func portIs(protocol, what string, offset uint32, port uint16) term {
	return fixed(fmt.Sprintf("%s %s %d", protocol, what, port),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocolNumber(protocol)}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)})
}

// setPort writes another port there. No connection is tracked for it, so the way back needs a rule of its own.
func setPort(protocol, what string, offset uint32, port uint16) term {
	checksum := map[string]uint32{"udp": udpChecksum, "tcp": tcpChecksum}[protocol]
	return fixed(fmt.Sprintf("%s %s set %d", protocol, what, port),
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader,
			Offset: offset, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum})
}

func notLoopback6() term {
	return fixed("ip6 daddr != ::1",
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: daddr6, Len: 16},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: netip.IPv6Loopback().AsSlice()})
}

func ctEstablished() term {
	mask := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return fixed("ct state established,related",
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
}

func ctInvalid() term {
	return fixed("ct state invalid",
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitINVALID), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
}

// ipsDstNAT is the bit of a connection whose destination was changed.
const ipsDstNAT = 1 << 5

func ctDNAT() term {
	mask := binaryutil.NativeEndian.PutUint32(ipsDstNAT)
	return fixed("ct status dnat",
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
}

// fibLocal matches packets to any address of this host.
func fibLocal() term {
	return fixed("fib daddr type local",
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)})
}

func verdict(what string) term {
	switch what {
	case "accept":
		return fixed(what, &expr.Verdict{Kind: expr.VerdictAccept})
	case "drop":
		return fixed(what, &expr.Verdict{Kind: expr.VerdictDrop})
	default:
		return fixed(what, &expr.Masq{})
	}
}

// Registers of 32 bits as the kernel counts them; register 1 is the first four of them.
const reg32 = 8

// dnatTo looks a packet up in a map and sends it where that says.
func dnatTo(m portMap) term {
	name, v6, withAddr := m.name, m.v6, m.withAddr
	family, proto := "ip", uint32(unix.NFPROTO_IPV4)
	words, offset := uint32(1), uint32(daddr4)
	if v6 {
		family, proto, words, offset = "ip6", unix.NFPROTO_IPV6, 4, daddr6
	}
	key := "meta l4proto . th dport"
	if withAddr {
		key = family + " daddr . " + key
	}
	text := fmt.Sprintf("meta nfproto %s dnat %s to %s map @%s", map[bool]string{false: "ipv4", true: "ipv6"}[v6], family, key, name)
	return term{text, func(maps map[string]*nftables.Set) []expr.Any {
		out := []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(proto)}},
		}
		next := uint32(reg32)
		if withAddr {
			out = append(out, &expr.Payload{DestRegister: next, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: words * 4})
			next += words
		}
		return append(out,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: next},
			&expr.Payload{DestRegister: next + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: reg32, DestRegister: 1, IsDestRegSet: true, SetName: name, SetID: maps[name].ID},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: proto, RegAddrMin: 1, RegProtoMin: reg32 + words, Specified: true})
	}}
}
