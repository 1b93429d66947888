//go:build linux

package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Stmt is one match or action of a rule.
type Stmt struct {
	text  string
	build func(*builder) []expr.Any
}

// builder gives statements the sets they look up.
type builder struct {
	conn  *nftables.Conn
	table *nftables.Table
	sets  map[string]*nftables.Set
	ids   uint32 // of sets, unique in a transaction: the library's own counter is not safe for concurrent use
	err   error
}

const (
	reg1  = unix.NFT_REG_1
	reg2  = unix.NFT_REG_2
	reg32 = unix.NFT_REG32_00 // the first of the four-byte registers; 32_00 to 32_03 are reg1
)

func fixed(text string, exprs ...expr.Any) Stmt {
	return Stmt{text, func(*builder) []expr.Any { return exprs }}
}

func eq(data ...byte) expr.Any  { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data} }
func neq(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: data} }

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// ifname is padded: without zero bytes it would match all names that begin so, which is what a star asks for.
func ifname(name string) []byte {
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		return []byte(prefix)
	}
	b := make([]byte, 16)
	copy(b, name)
	return b
}

// In matches packets that came in by a link. A name that ends in a star stands for all that begin so, here and below.
func In(link string) Stmt {
	return fixed(fmt.Sprintf("iifname %q", link), &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1}, eq(ifname(link)...))
}

// Out matches packets that leave by a link.
func Out(link string) Stmt {
	return fixed(fmt.Sprintf("oifname %q", link), &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1}, eq(ifname(link)...))
}

// NotOut matches packets that do not leave by a link.
func NotOut(link string) Stmt {
	return fixed(fmt.Sprintf("oifname != %q", link), &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1}, neq(ifname(link)...))
}

// Protocol matches tcp, udp or sctp.
func Protocol(name string) Stmt {
	return fixed("meta l4proto "+name, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, eq(protocols[name]))
}

// ToLocal matches packets to an address of this namespace.
func ToLocal() Stmt {
	return fixed("fib daddr type local", &expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true}, eq(native(unix.RTN_LOCAL)...))
}

// ToNobody matches packets to no address of this namespace that no route leads out of it either. (Of an unreachable route,
// "fib daddr type" tells for IPv6 alone.)
func ToNobody() Stmt {
	return fixed("fib daddr oif 0 fib daddr type != local",
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultOIF: true}, eq(native(0)...),
		&expr.Fib{Register: reg1, FlagDADDR: true, ResultADDRTYPE: true}, &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: native(unix.RTN_LOCAL)})
}

func guard(v6 bool) []expr.Any {
	proto := byte(unix.NFPROTO_IPV4)
	if v6 {
		proto = unix.NFPROTO_IPV6
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg1}, eq(proto)}
}

func word(v6 bool) string {
	if v6 {
		return "ip6"
	}
	return "ip"
}

func addrLoad(v6, dst bool, reg uint32) expr.Any {
	p := &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
	if v6 {
		p.Offset, p.Len = 8, 16
	}
	if dst {
		p.Offset += p.Len
	}
	return p
}

// From matches packets whose source is in a prefix.
func From(p netip.Prefix) Stmt {
	v6, mask := p.Addr().Is6(), make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	exprs := append(guard(v6), addrLoad(v6, false, reg1),
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))},
		eq(p.Masked().Addr().AsSlice()...))
	return fixed(fmt.Sprintf("%s saddr %s", word(v6), p.Masked()), exprs...)
}

// To matches packets to a prefix.
func To(p netip.Prefix) Stmt {
	s := From(p)
	exprs := s.build(nil)
	exprs[2] = addrLoad(p.Addr().Is6(), true, reg1)
	return fixed(strings.Replace(s.text, "saddr", "daddr", 1), exprs...)
}

// lookup looks a register up in a named set; dest is 0 for a map of verdicts.
func (b *builder) lookup(set string, dest uint32, isMap bool) expr.Any {
	s := b.sets[set]
	if s == nil {
		b.err = fmt.Errorf("no set %s in table %s", set, Name)
		return &expr.Lookup{}
	}
	return &expr.Lookup{SourceRegister: reg1, SetName: s.Name, SetID: s.ID, DestRegister: dest, IsDestRegSet: isMap}
}

// DestinationMap goes to the chain that the map has for the destination address.
func DestinationMap(v6 bool, set string) Stmt {
	return Stmt{fmt.Sprintf("%s daddr vmap @%s", word(v6), set), func(b *builder) []expr.Any {
		return append(guard(v6), addrLoad(v6, true, reg1), b.lookup(set, unix.NFT_REG_VERDICT, true))
	}}
}

// PortMap goes to the chain that the map has for protocol and destination port.
func PortMap(v6 bool, set string) Stmt {
	family := map[bool]string{false: "ipv4", true: "ipv6"}[v6]
	return Stmt{fmt.Sprintf("meta nfproto %s meta l4proto . th dport vmap @%s", family, set), func(b *builder) []expr.Any {
		return append(append(guard(v6), portLoad()...), b.lookup(set, unix.NFT_REG_VERDICT, true))
	}}
}

// PortIn matches protocol and destination port in a set.
func PortIn(v6 bool, set string) Stmt {
	family := map[bool]string{false: "ipv4", true: "ipv6"}[v6]
	return Stmt{fmt.Sprintf("meta nfproto %s meta l4proto . th dport @%s", family, set), func(b *builder) []expr.Any {
		return append(append(guard(v6), portLoad()...), b.lookup(set, 0, false))
	}}
}

func portLoad() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg32},
		&expr.Payload{DestRegister: reg32 + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// PairIn matches source and destination address together in a set.
func PairIn(v6 bool, set string) Stmt {
	second := uint32(reg32 + 1)
	if v6 {
		second = reg2
	}
	return Stmt{fmt.Sprintf("%[1]s saddr . %[1]s daddr @%[2]s", word(v6), set), func(b *builder) []expr.Any {
		return append(guard(v6), addrLoad(v6, false, reg1), addrLoad(v6, true, second), b.lookup(set, 0, false))
	}}
}

// SourceIn matches the source address in a set.
func SourceIn(v6 bool, set string) Stmt {
	return Stmt{fmt.Sprintf("%s saddr @%s", word(v6), set), func(b *builder) []expr.Any {
		return append(guard(v6), addrLoad(v6, false, reg1), b.lookup(set, 0, false))
	}}
}

func ctBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(bits), Xor: native(0)},
		neq(native(0)...),
	}
}

// New matches the first packet of a connection.
func New() Stmt { return fixed("ct state new", ctBits(expr.CtKeySTATE, expr.CtStateBitNEW)...) }

// Known matches all but the first packet of a connection, and errors about one.
func Known() Stmt {
	return fixed("ct state established,related", ctBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)...)
}

// Invalid matches what is no part of any connection and begins none.
func Invalid() Stmt {
	return fixed("ct state invalid", ctBits(expr.CtKeySTATE, expr.CtStateBitINVALID)...)
}

// Translated matches connections whose destination was translated here.
func Translated() Stmt { return fixed("ct status dnat", ctBits(expr.CtKeySTATUS, 1<<5)...) }

// Reply matches packets of the answering side.
func Reply() Stmt {
	return fixed("ct direction reply", &expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg1}, eq(1))
}

// ConnMark matches connections whose mark, masked, is value.
func ConnMark(mask, value uint32) Stmt {
	return fixed(fmt.Sprintf("ct mark & 0x%08x == 0x%08x", mask, value),
		&expr.Ct{Key: expr.CtKeyMARK, Register: reg1},
		&expr.Bitwise{SourceRegister: reg1, DestRegister: reg1, Len: 4, Mask: native(mask), Xor: native(0)},
		eq(native(value)...))
}

// MarkBySender sets the connection's mark to what the map has for the Ethernet source address.
func MarkBySender(set string) Stmt {
	return Stmt{"ct mark set ether saddr map @" + set, func(b *builder) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
			b.lookup(set, reg1, true),
			&expr.Ct{Key: expr.CtKeyMARK, Register: reg1, SourceRegister: true},
		}
	}}
}

// RestoreMark copies the connection's mark to the packet.
func RestoreMark() Stmt {
	return fixed("meta mark set ct mark", &expr.Ct{Key: expr.CtKeyMARK, Register: reg1}, &expr.Meta{Key: expr.MetaKeyMARK, Register: reg1, SourceRegister: true})
}

// ClearMark takes the mark off the packet.
func ClearMark() Stmt {
	return fixed("meta mark set 0x00000000", &expr.Immediate{Register: reg1, Data: native(0)}, &expr.Meta{Key: expr.MetaKeyMARK, Register: reg1, SourceRegister: true})
}

// NoTrackUDP leaves datagrams to a port out of connection tracking.
func NoTrackUDP(port uint16) Stmt {
	return fixed(fmt.Sprintf("udp dport %d notrack", port),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, eq(unix.IPPROTO_UDP),
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, eq(byte(port>>8), byte(port)),
		&expr.Notrack{})
}

// Accept ends the hook, for our table.
func Accept() Stmt { return fixed("accept", &expr.Verdict{Kind: expr.VerdictAccept}) }

// Drop throws the packet away.
func Drop() Stmt { return fixed("drop", &expr.Verdict{Kind: expr.VerdictDrop}) }

// ResetTCP answers TCP with a reset.
func ResetTCP() Stmt {
	return fixed("meta l4proto tcp reject with tcp reset",
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, eq(unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
}

// RejectPort answers that nobody listens.
func RejectPort() Stmt {
	return fixed("reject with icmpx port-unreachable", &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH})
}

// RejectAdmin answers that this is not allowed.
func RejectAdmin() Stmt {
	return fixed("reject with icmpx admin-prohibited", &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED})
}
