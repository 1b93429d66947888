//go:build linux

package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kernel is nftables of one namespace.
type Kernel struct{ NetNS int } // descriptor of the namespace

const (
	socketBuffer = 8 << 20
	chunk        = 250 // chains or elements in one message or transaction
)

func (k Kernel) open() (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(k.NetNS), nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		// A smaller buffer loses acknowledgements of big transactions; what the kernel refuses is not fatal.
		_ = c.SetReadBuffer(socketBuffer)
		_ = c.SetWriteBuffer(socketBuffer)
		return nil
	}))
}

var table = &nftables.Table{Name: Name, Family: nftables.TableFamilyINet}

// Plan is the difference between the kernel's table and a wanted one.
type Plan struct {
	Lines []string // for a person, empty if there is none

	whole     bool
	addChains []Chain
	delChains []string
	addElem   map[string][]Element
	delElem   map[string][]Element
	kernel    Kernel
	want      Table
}

// Removes tells whether the plan takes anything away.
func (p *Plan) Removes() bool { return p.whole || len(p.delChains) > 0 || len(p.delElem) > 0 }

// Compare reads the kernel's table. With additive set, content chains and elements that are there but not wanted are
// left alone: the caller does not know everything yet.
func (k Kernel) Compare(want Table, additive bool) (*Plan, error) {
	p := &Plan{kernel: k, want: want, addElem: map[string][]Element{}, delElem: map[string][]Element{}}
	have, err := k.read(want)
	if err != nil {
		return nil, fmt.Errorf("read nftables: %w", err)
	}
	if why := have.formDiffers(want); why != "" {
		p.whole = true
		p.Lines = append(p.Lines, why)
		return p, nil
	}
	p.compareChains(have, additive)
	for _, s := range want.Sets {
		p.compareElements(s, have.elements[s.Name], additive)
	}
	return p, nil
}

func (p *Plan) compareChains(have *state, additive bool) {
	wanted := map[string]bool{}
	for _, c := range p.want.Content {
		wanted[c.Name] = true
		n, there := have.chains[c.Name]
		switch {
		case !there:
			p.addChains = append(p.addChains, c)
			p.Lines = append(p.Lines, fmt.Sprintf("nft chain %s is missing", c.Name))
		case n != len(c.Rules):
			// Its content was changed by hand; names promise content, so everything is in doubt.
			p.whole = true
			p.Lines = append(p.Lines, fmt.Sprintf("nft chain %s has %d rules, not %d", c.Name, n, len(c.Rules)))
		}
	}
	if additive {
		return
	}
	fixedChains := map[string]bool{p.want.digest(): true}
	for _, c := range p.want.Chains {
		fixedChains[c.Name] = true
	}
	for name := range have.chains {
		if !wanted[name] && !fixedChains[name] {
			p.delChains = append(p.delChains, name)
		}
	}
	slices.Sort(p.delChains)
	for _, name := range p.delChains {
		p.Lines = append(p.Lines, fmt.Sprintf("nft chain %s is unwanted", name))
	}
}

func (p *Plan) compareElements(s Set, have map[string]string, additive bool) {
	wanted := map[string]bool{}
	for _, e := range s.Elements {
		wanted[e.Key.raw] = true
		got, there := have[e.Key.raw]
		if there && got == e.value() {
			continue
		}
		if there {
			p.delElem[s.Name] = append(p.delElem[s.Name], e)
		}
		p.addElem[s.Name] = append(p.addElem[s.Name], e)
		p.Lines = append(p.Lines, fmt.Sprintf("nft element %s in %s is missing or leads elsewhere", e.Key, s.Name))
	}
	for raw := range have {
		if !wanted[raw] && !additive {
			p.delElem[s.Name] = append(p.delElem[s.Name], Element{Key: Key{raw: raw}})
			p.Lines = append(p.Lines, fmt.Sprintf("nft element %x in %s is unwanted", raw, s.Name))
		}
	}
}

// Apply makes the kernel's table the wanted one. A plan with no differences does nothing.
func (p *Plan) Apply() error {
	if len(p.Lines) == 0 {
		return nil
	}
	c, err := p.kernel.open()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer c.CloseLasting()
	if p.whole {
		err = p.replace(c)
	} else {
		err = p.change(c)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("change nftables (kernel modules nf_tables, nft_nat, nft_numgen, nft_fib_inet, nft_reject_inet are needed): %w", err)
	}
	if err != nil {
		return fmt.Errorf("change nftables: %w", err)
	}
	return nil
}

// change adds what is new, turns the maps and only then drops what is old, so that no packet finds a gap.
func (p *Plan) change(c *nftables.Conn) error {
	b := newBuilder(c, p.want)
	for part := range slices.Chunk(p.addChains, chunk) {
		b.chains(part)
		if len(part) == chunk {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	for name, elements := range p.delElem {
		for part := range slices.Chunk(elements, chunk) {
			if err := c.SetDeleteElements(b.sets[name], encode(part, false)); err != nil {
				return err
			}
		}
	}
	b.elements(p.addElem)
	for _, name := range p.delChains {
		c.DelChain(&nftables.Chain{Name: name, Table: table})
	}
	return b.flush()
}

// replace puts a whole new table in the place of the old one in one transaction.
func (p *Plan) replace(c *nftables.Conn) error {
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	b := newBuilder(c, p.want)
	for _, s := range p.want.Sets {
		if err := c.AddSet(b.sets[s.Name], nil); err != nil {
			return err
		}
	}
	c.AddChain(&nftables.Chain{Name: p.want.digest(), Table: table})
	b.chains(p.want.Chains)
	b.chains(p.want.Content)
	all := map[string][]Element{}
	for _, s := range p.want.Sets {
		all[s.Name] = s.Elements
	}
	b.elements(all)
	return b.flush()
}

func (b *builder) flush() error {
	if b.err != nil {
		return b.err
	}
	return b.conn.Flush()
}

// chains adds chains before any of their rules, because rules may name chains.
func (b *builder) chains(chains []Chain) {
	for _, c := range chains {
		k := &nftables.Chain{Name: c.Name, Table: b.table}
		if c.Hook != nil {
			accept := nftables.ChainPolicyAccept
			k.Type, k.Hooknum, k.Priority, k.Policy = c.Hook.Type, c.Hook.Hook, &c.Hook.Priority, &accept
		}
		b.conn.AddChain(k)
	}
	for _, c := range chains {
		for _, r := range c.Rules {
			var exprs []expr.Any
			for _, s := range r {
				exprs = append(exprs, s.build(b)...)
			}
			b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: &nftables.Chain{Name: c.Name, Table: b.table}, Exprs: exprs})
		}
	}
}

func (b *builder) elements(all map[string][]Element) {
	for name, elements := range all {
		for part := range slices.Chunk(elements, chunk) {
			if err := b.conn.SetAddElements(b.sets[name], encode(part, true)); err != nil {
				b.err = err
			}
		}
	}
}

func encode(elements []Element, data bool) []nftables.SetElement {
	out := make([]nftables.SetElement, len(elements))
	for i, e := range elements {
		out[i].Key = []byte(e.Key.raw)
		switch {
		case !data:
		case e.Chain != "":
			out[i].VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.Chain}
		case e.Mark != 0:
			out[i].Val = native(e.Mark)
		}
	}
	return out
}

func newBuilder(c *nftables.Conn, want Table) *builder {
	sets := namedSets(want)
	return &builder{conn: c, table: table, sets: sets, ids: uint32(len(sets))}
}

func namedSets(t Table) map[string]*nftables.Set {
	sets := map[string]*nftables.Set{}
	for _, s := range t.Sets {
		k := &nftables.Set{Table: table, Name: s.Name, ID: uint32(len(sets)) + 1}
		switch s.Key {
		case KeyV4:
			k.KeyType = nftables.TypeIPAddr
		case KeyV6:
			k.KeyType = nftables.TypeIP6Addr
		case KeyV4Pair:
			k.KeyType, k.Concatenation = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr), true
		case KeyV6Pair:
			k.KeyType, k.Concatenation = nftables.MustConcatSetType(nftables.TypeIP6Addr, nftables.TypeIP6Addr), true
		case KeyPort:
			k.KeyType, k.Concatenation = nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService), true
		case KeyMAC:
			k.KeyType = nftables.TypeEtherAddr
		}
		switch s.Data {
		case Verdict:
			k.IsMap, k.DataType = true, nftables.TypeVerdict
		case Mark:
			k.IsMap, k.DataType = true, nftables.TypeMark
		}
		sets[s.Name] = k
	}
	return sets
}

// Remove deletes our table. None is no error.
func (k Kernel) Remove() error {
	c, err := k.open()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	defer c.CloseLasting()
	c.AddTable(table)
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove nftables table %s: %w", Name, err)
	}
	return nil
}

// Exists tells whether our table is there.
func (k Kernel) Exists() (bool, error) {
	c, err := k.open()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	defer c.CloseLasting()
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	for _, t := range tables {
		if t.Name == Name {
			return true, nil
		}
	}
	return false, err
}
