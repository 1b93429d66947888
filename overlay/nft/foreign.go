//go:build linux

package nft

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Dropping lists the chains of others that throw away every forwarded packet they do not know. No rule of ours can save
// what they drop: Docker and most firewalls make such a chain. iptables' old kernel tables are not seen here.
func (k Kernel) Dropping() ([]string, error) {
	c, err := k.open()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	defer c.CloseLasting()
	chains, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var out []string
	for _, chain := range chains {
		if drops(chain) && (chain.Table.Name != Name || chain.Table.Family != table.Family) {
			out = append(out, fmt.Sprintf("chain %s of table %s %s", chain.Name, family(chain.Table.Family), chain.Table.Name))
		}
	}
	slices.Sort(out)
	return out, nil
}

func drops(c *nftables.Chain) bool {
	return c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Type == nftables.ChainTypeFilter &&
		c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop && isIP(c.Table.Family)
}

func isIP(f nftables.TableFamily) bool { return family(f) != "" }

func family(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return ""
}
