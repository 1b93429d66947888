//go:build linux

// Package nft holds our nftables table as a value and makes the kernel's table equal to it.
//
// A Table is base chains with fixed rules, named sets and maps, and content chains: a content chain's name is a hash
// of its rules, so that comparing names compares rules, and a change of one service adds a chain, turns one map
// element and drops a chain, whatever the number of services. Stmt values are made by the constructors in stmt.go and
// carry their text in nft's own syntax beside the kernel's expressions. The package touches no table but ours, and
// does not know what the rules are for.
package nft

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
)

// Name is the table's name in the inet family.
const Name = "shoal"

// Table is everything in our table.
type Table struct {
	Sets   []Set
	Chains []Chain // base chains, and regular ones that rules name
	// Content are the chains that maps lead to, made by ContentChain.
	Content []Chain
}

// Chain is a list of rules; a base chain has a hook.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Hook places a base chain. Its policy is accept.
type Hook struct {
	Type     nftables.ChainType
	Hook     *nftables.ChainHook
	Priority nftables.ChainPriority
}

// Rule is statements from left to right.
type Rule []Stmt

// Set is a named set, or a map when Data says what it leads to.
type Set struct {
	Name     string
	Key      KeyType
	Data     DataType
	Elements []Element
}

// Element is a member: for maps with its chain (goto) or mark.
type Element struct {
	Key   Key
	Chain string
	Mark  uint32
}

// Key is an encoded set key with its text.
type Key struct{ raw, text string }

func (k Key) String() string { return k.text }

// KeyType is what the keys of a set are.
type KeyType int

// Kinds of keys.
const (
	KeyV4 KeyType = iota
	KeyV6
	KeyV4Pair
	KeyV6Pair
	KeyPort // protocol and port
	KeyMAC
)

// DataType is what a map leads to.
type DataType int

// Kinds of data.
const (
	NoData DataType = iota
	Verdict
	Mark
)

// AddrKey is a KeyV4 or KeyV6.
func AddrKey(a netip.Addr) Key { return Key{string(a.AsSlice()), a.String()} }

// SelfKey is a KeyV4Pair or KeyV6Pair of an address with itself.
func SelfKey(a netip.Addr) Key {
	return Key{string(a.AsSlice()) + string(a.AsSlice()), a.String() + " . " + a.String()}
}

// PortKey is a KeyPort. Every part of a compound key fills whole registers of four bytes.
func PortKey(proto string, port uint16) (Key, error) {
	n, ok := protocols[proto]
	if !ok {
		return Key{}, fmt.Errorf("protocol %q is none of tcp, udp, sctp", proto)
	}
	return Key{string([]byte{n, 0, 0, 0, byte(port >> 8), byte(port), 0, 0}), fmt.Sprintf("%s . %d", proto, port)}, nil
}

var protocols = map[string]byte{"tcp": 6, "udp": 17, "sctp": 132}

// MACKey is a KeyMAC.
func MACKey(mac string) (Key, error) {
	m, err := net.ParseMAC(mac)
	if err != nil {
		return Key{}, err
	}
	return Key{string(m), mac}, nil
}

// ContentChain makes a chain whose name says what is in it. The seed tells chains apart that have equal rules.
func ContentChain(prefix, seed string, rules ...Rule) Chain {
	h := sha256.New()
	fmt.Fprintln(h, seed)
	for _, r := range rules {
		fmt.Fprintln(h, r)
	}
	return Chain{Name: prefix + "-" + hex.EncodeToString(h.Sum(nil)[:8]), Rules: rules}
}

func (r Rule) String() string {
	parts := make([]string, len(r))
	for i, s := range r {
		parts[i] = s.text
	}
	return strings.Join(parts, " ")
}

// String is the table as nft would read it, elements and chains in order.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", Name)
	for _, s := range t.Sets {
		b.WriteString(s.header())
		if len(s.Elements) > 0 {
			lines := make([]string, len(s.Elements))
			for i, e := range s.Elements {
				lines[i] = e.text()
			}
			slices.Sort(lines)
			fmt.Fprintf(&b, "\t\telements = { %s }\n", strings.Join(lines, ",\n\t\t             "))
		}
		b.WriteString("\t}\n")
	}
	for _, c := range slices.Concat(t.Chains, sorted(t.Content)) {
		b.WriteString(c.String())
	}
	b.WriteString("}\n")
	return b.String()
}

func sorted(chains []Chain) []Chain {
	return slices.SortedFunc(slices.Values(chains), func(a, b Chain) int { return strings.Compare(a.Name, b.Name) })
}

func (c Chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n", c.Name)
	if c.Hook != nil {
		fmt.Fprintf(&b, "\t\ttype %s hook %s priority %d; policy accept;\n", c.Hook.Type, hookNames[*c.Hook.Hook], c.Hook.Priority)
	}
	for _, r := range c.Rules {
		fmt.Fprintf(&b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
	return b.String()
}

var hookNames = map[nftables.ChainHook]string{0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting"}

func (s Set) header() string {
	kind := map[DataType]string{NoData: "set", Verdict: "map", Mark: "map"}[s.Data]
	key := map[KeyType]string{KeyV4: "ipv4_addr", KeyV6: "ipv6_addr", KeyV4Pair: "ipv4_addr . ipv4_addr",
		KeyV6Pair: "ipv6_addr . ipv6_addr", KeyPort: "inet_proto . inet_service", KeyMAC: "ether_addr"}[s.Key]
	data := map[DataType]string{NoData: "", Verdict: " : verdict", Mark: " : mark"}[s.Data]
	return fmt.Sprintf("\t%s %s {\n\t\ttype %s%s\n", kind, s.Name, key, data)
}

func (e Element) text() string {
	switch {
	case e.Chain != "":
		return e.Key.text + " : goto " + e.Chain
	case e.Mark != 0:
		return fmt.Sprintf("%s : 0x%08x", e.Key.text, e.Mark)
	}
	return e.Key.text
}

// value is the part of an element that a change of shows as a difference.
func (e Element) value() string {
	if e.Mark != 0 {
		return string(binary.NativeEndian.AppendUint32(nil, e.Mark))
	}
	return e.Chain
}

// digest names the fixed part of the table: base chains, regular chains and the sets' types.
func (t Table) digest() string {
	h := sha256.New()
	for _, s := range t.Sets {
		fmt.Fprint(h, s.header())
	}
	for _, c := range t.Chains {
		fmt.Fprint(h, c)
	}
	return "form-" + hex.EncodeToString(h.Sum(nil)[:8])
}
