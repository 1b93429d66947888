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

// MaxBackends is how many backends one DNAT statement takes: its map travels in one netlink attribute of 64 KiB.
const MaxBackends = 1000

// DNAT leads new connections to one of backends by chance, at port unless that is 0. All backends are of one family.
func DNAT(backends []netip.Addr, port uint16) Stmt {
	v6 := backends[0].Is6()
	return Stmt{dnatText(backends, port), func(b *builder) []expr.Any {
		exprs := guard(v6)
		if len(backends) == 1 {
			exprs = append(exprs, &expr.Immediate{Register: reg1, Data: backends[0].AsSlice()})
		} else {
			exprs = append(exprs, b.choose(backends)...)
		}
		nat := &expr.NAT{Type: expr.NATTypeDestNAT, Family: natFamily(v6), RegAddrMin: reg1}
		if port != 0 {
			exprs = append(exprs, &expr.Immediate{Register: reg2, Data: []byte{byte(port >> 8), byte(port)}})
			nat.RegProtoMin, nat.Specified = reg2, true
		}
		return append(exprs, nat)
	}}
}

// choose loads one of the addresses by chance into reg1.
func (b *builder) choose(addrs []netip.Addr) []expr.Any {
	data := nftables.TypeIPAddr
	if addrs[0].Is6() {
		data = nftables.TypeIP6Addr
	}
	b.ids++
	set := &nftables.Set{Table: b.table, ID: b.ids, Name: "__map%d", Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, DataType: data}
	elements := make([]nftables.SetElement, len(addrs))
	for i, a := range addrs {
		elements[i] = nftables.SetElement{Key: native(uint32(i)), Val: a.AsSlice()}
	}
	if err := b.conn.AddSet(set, elements); err != nil {
		b.err = fmt.Errorf("make map of backends: %w", err)
	}
	return []expr.Any{
		&expr.Numgen{Register: reg1, Modulus: uint32(len(addrs)), Type: unix.NFT_NG_RANDOM},
		&expr.Lookup{SourceRegister: reg1, DestRegister: reg1, IsDestRegSet: true, SetID: set.ID, SetName: set.Name},
	}
}

// Chance matches n of so many packets, at random.
func Chance(n, of int) Stmt {
	return fixed(fmt.Sprintf("numgen random mod %d < %d", of, n),
		&expr.Numgen{Register: reg1, Modulus: uint32(of), Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: reg1, DestRegister: reg1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: reg1, Data: binary.BigEndian.AppendUint32(nil, uint32(n))})
}

func dnatText(backends []netip.Addr, port uint16) string {
	family := word(backends[0].Is6())
	suffix := ""
	if port != 0 {
		suffix = fmt.Sprintf(":%d", port)
	}
	if len(backends) == 1 {
		a := backends[0].String()
		if backends[0].Is6() && port != 0 {
			a = "[" + a + "]"
		}
		return fmt.Sprintf("dnat %s to %s%s", family, a, suffix)
	}
	parts := make([]string, len(backends))
	for i, a := range backends {
		parts[i] = fmt.Sprintf("%d : %s", i, a)
	}
	return fmt.Sprintf("dnat %s to numgen random mod %d map { %s }%s", family, len(backends), strings.Join(parts, ", "), suffix)
}

// SNAT makes addr the source.
func SNAT(addr netip.Addr) Stmt {
	v6 := addr.Is6()
	exprs := append(guard(v6), &expr.Immediate{Register: reg1, Data: addr.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: natFamily(v6), RegAddrMin: reg1})
	return fixed(fmt.Sprintf("snat %s to %s", word(v6), addr), exprs...)
}

// Masquerade makes the leaving link's address the source.
func Masquerade() Stmt { return fixed("masquerade", &expr.Masq{}) }

func natFamily(v6 bool) uint32 {
	if v6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}
