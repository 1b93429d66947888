//go:build linux

package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// state is what the kernel's table holds.
type state struct {
	exists   bool
	chains   map[string]int // number of rules
	sets     map[string]bool
	elements map[string]map[string]string // by set: key to value
}

func (k Kernel) read(want Table) (*state, error) {
	c, err := k.open()
	if err != nil {
		return nil, err
	}
	defer c.CloseLasting()
	st := &state{chains: map[string]int{}, sets: map[string]bool{}, elements: map[string]map[string]string{}}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == Name {
			st.exists, st.chains[ch.Name] = true, 0
		}
	}
	if !st.exists {
		return st, nil
	}
	if err := k.countRules(st.chains); err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	sets, err := c.GetSets(table)
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	for _, s := range sets {
		st.sets[s.Name] = true
	}
	for _, s := range want.Sets {
		if !st.sets[s.Name] {
			continue
		}
		elements, err := c.GetSetElements(&nftables.Set{Table: table, Name: s.Name})
		if err != nil {
			return nil, fmt.Errorf("list elements of %s: %w", s.Name, err)
		}
		m := make(map[string]string, len(elements))
		for _, e := range elements {
			m[string(e.Key)] = decodeValue(s.Data, e.Val)
		}
		st.elements[s.Name] = m
	}
	return st, nil
}

// formDiffers tells why the fixed part of the table is not the wanted one, "" if it is.
func (st *state) formDiffers(want Table) string {
	if !st.exists {
		return "nft table inet " + Name + " is missing"
	}
	if _, ok := st.chains[want.digest()]; !ok {
		return "nft table inet " + Name + " has another form"
	}
	for _, c := range want.Chains {
		if n, ok := st.chains[c.Name]; !ok || n != len(c.Rules) {
			return fmt.Sprintf("nft chain %s has %d rules, not %d", c.Name, n, len(c.Rules))
		}
	}
	for _, s := range want.Sets {
		if !st.sets[s.Name] {
			return fmt.Sprintf("nft set %s is missing", s.Name)
		}
	}
	return ""
}

// countRules dumps all rules of our table once and counts them by chain.
func (k Kernel) countRules(count map[string]int) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: k.NetNS})
	if err != nil {
		return err
	}
	defer conn.Close()
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: append([]byte(Name), 0)}})
	if err != nil {
		return err
	}
	msgs, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request | netlink.Dump},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
	if err != nil {
		return err
	}
	for _, m := range msgs {
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		if err != nil {
			return err
		}
		var tableName, chain string
		for ad.Next() {
			switch ad.Type() {
			case unix.NFTA_RULE_TABLE:
				tableName = ad.String()
			case unix.NFTA_RULE_CHAIN:
				chain = ad.String()
			}
		}
		if _, ours := count[chain]; ours && tableName == Name {
			count[chain]++
		}
	}
	return nil
}

// decodeValue makes of a map's data what Element.value makes.
func decodeValue(t DataType, b []byte) string {
	switch t {
	case Verdict:
		ad, err := netlink.NewAttributeDecoder(b)
		if err != nil {
			return ""
		}
		ad.ByteOrder = binary.BigEndian
		var chain string
		for ad.Next() {
			if ad.Type() == unix.NFTA_VERDICT_CHAIN {
				chain = ad.String()
			}
		}
		return chain
	case Mark:
		return string(b)
	}
	return ""
}
