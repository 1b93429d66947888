//go:build linux

package network

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
)

// warnOfFirewall names, once, the chains of others that throw away every forwarded packet they do not know. No rule of
// ours can save what they drop. iptables' old kernel tables are not seen here.
func (m *Manager) warnOfFirewall() error {
	if !slices.ContainsFunc(m.used(), isBridge) {
		return nil
	}
	dropping, err := m.dropping()
	if err != nil {
		return err
	}
	if found := strings.Join(dropping, ", "); found != m.warned {
		m.warned = found
		if found != "" {
			m.log.Warn("a firewall drops what containers send and receive: let it accept forwarded packets from and to shbr*, see docs/engine.md", "chains", found)
		}
	}
	return nil
}

func (m *Manager) dropping() ([]string, error) {
	conn, err := nftConn(m.ns)
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	families := map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6"}
	var out []string
	for _, c := range chains {
		forward := c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Type == nftables.ChainTypeFilter
		if forward && families[c.Table.Family] != "" && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
			out = append(out, fmt.Sprintf("%s %s %s", families[c.Table.Family], c.Table.Name, c.Name))
		}
	}
	slices.Sort(out)
	return out, nil
}
