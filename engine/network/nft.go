//go:build linux

package network

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	nlsocket "github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
)

// nftConn opens a connection with buffers that hold a large transaction.
func nftConn(ns netns.NsHandle) (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(int(ns)), nftables.WithSockOptions(func(c *nlsocket.Conn) error {
		c.SetReadBuffer(1 << 22)
		c.SetWriteBuffer(1 << 22)
		return nil
	}))
}

// applyRules makes the kernel's table equal to want; nil removes it. If only elements of maps differ, only those are
// changed. m.mu is held.
func (m *Manager) applyRules(want *ruleset) error {
	if want != nil && m.applied != nil && sameChains(want, m.applied) {
		if err := m.applyElements(m.applied, want); err == nil {
			m.applied = want
			return nil
		}
		// What the kernel has is not what we thought: write it anew.
	}
	m.applied = nil
	if err := replaceTable(m.ns, tableName, want); err != nil {
		return fmt.Errorf("write nftables table %s: %w", tableName, err)
	}
	m.applied = want
	return nil
}

func sameChains(a, b *ruleset) bool {
	bare := func(rs *ruleset) string {
		c := ruleset{chains: rs.chains}
		return c.String()
	}
	return bare(a) == bare(b)
}

// replaceTable deletes a table and writes it anew, if it is wanted, in one transaction.
func replaceTable(ns netns.NsHandle, name string, want *ruleset) error {
	conn, err := nftConn(ns)
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	conn.AddTable(table) // so that deleting it never fails
	conn.DelTable(table)
	if want != nil {
		if err := want.write(conn, conn.AddTable(table)); err != nil {
			return err
		}
	}
	return conn.Flush()
}

// createTable writes a table that is not there yet.
func createTable(ns netns.NsHandle, name string, want *ruleset) error {
	conn, err := nftConn(ns)
	if err != nil {
		return err
	}
	table := conn.CreateTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	if err := want.write(conn, table); err != nil {
		return err
	}
	return conn.Flush()
}

// write adds all of a table to a transaction.
func (rs *ruleset) write(conn *nftables.Conn, table *nftables.Table) error {
	sets := map[string]*nftables.Set{}
	for _, pm := range rs.maps {
		set := pm.set(table)
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
		sets[pm.name] = set
		for part := range slices.Chunk(pm.elements, elementsPerMessage) {
			if err := conn.SetAddElements(set, pm.encode(part)); err != nil {
				return err
			}
		}
	}
	for _, c := range rs.chains {
		ch := conn.AddChain(nftChain(table, c))
		for _, r := range c.rules {
			var exprs []expr.Any
			for _, t := range r {
				exprs = append(exprs, t.exprs(sets)...)
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: exprs})
		}
	}
	return nil
}

func nftChain(table *nftables.Table, c chain) *nftables.Chain {
	hooks := map[string]*nftables.ChainHook{
		"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput,
		"forward": nftables.ChainHookForward, "postrouting": nftables.ChainHookPostrouting,
	}
	return &nftables.Chain{
		Name: c.name, Table: table, Type: nftables.ChainType(c.kind), Hooknum: hooks[c.hook],
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(c.priority)),
	}
}

// tablePresent says whether the kernel has the table at all.
func (m *Manager) tablePresent() (bool, error) {
	conn, err := nftConn(m.ns)
	if err != nil {
		return false, err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }), nil
}
