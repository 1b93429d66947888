//go:build linux

package network

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// elementsPerMessage keeps a netlink attribute below its 64 KiB.
const elementsPerMessage = 400

// applyElements adds and removes single elements. Removals come first: a port may pass from one container to another.
func (m *Manager) applyElements(have, want *ruleset) error {
	conn, err := nftConn(m.ns)
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	changes := 0
	for i, pm := range want.maps {
		gone, added := difference(have.maps[i].elements, pm.elements), difference(pm.elements, have.maps[i].elements)
		changes += len(gone) + len(added)
		set := pm.set(table)
		for part := range slices.Chunk(gone, elementsPerMessage) {
			if err := conn.SetDeleteElements(set, pm.encode(part)); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(added, elementsPerMessage) {
			if err := conn.SetAddElements(set, pm.encode(part)); err != nil {
				return err
			}
		}
	}
	if changes == 0 {
		return nil
	}
	return conn.Flush()
}

// difference is what is in a but not in b.
func difference(a, b []element) []element {
	in := map[element]bool{}
	for _, e := range b {
		in[e] = true
	}
	var out []element
	for _, e := range a {
		if !in[e] {
			out = append(out, e)
		}
	}
	return out
}

func (m *portMap) set(table *nftables.Table) *nftables.Set {
	addr := nftables.TypeIPAddr
	if m.v6 {
		addr = nftables.TypeIP6Addr
	}
	key := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}
	if m.withAddr {
		key = append([]nftables.SetDatatype{addr}, key...)
	}
	return &nftables.Set{
		Table: table, Name: m.name, IsMap: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(key...), DataType: nftables.MustConcatSetType(addr, nftables.TypeInetService),
	}
}

// encode writes elements as the kernel wants concatenations: every part padded to four bytes.
func (m *portMap) encode(elements []element) []nftables.SetElement {
	var out []nftables.SetElement
	for _, e := range elements {
		var key []byte
		if m.withAddr {
			key = e.addr.AsSlice()
		}
		key = append(key, protocolNumber(e.protocol), 0, 0, 0)
		key = append(key, padPort(e.port)...)
		out = append(out, nftables.SetElement{Key: key, Val: append(e.to.Addr().AsSlice(), padPort(e.to.Port())...)})
	}
	return out
}

func padPort(port uint16) []byte {
	b := make([]byte, 4)
	binary.BigEndian.PutUint16(b, port)
	return b
}

func protocolNumber(p string) byte {
	switch p {
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	default:
		return unix.IPPROTO_TCP
	}
}
