package scheduler

import (
	"fmt"

	"github.com/shoal-dev/shoal/internal/constraint"
	"github.com/shoal-dev/shoal/proto/api"
)

// Constraint is one condition on a node, such as node.labels.disk == ssd.
type Constraint = constraint.Constraint

// ParseConstraints reads the constraints of a spec. The error names the expression and what is wrong with it.
func ParseConstraints(exprs []string) ([]Constraint, error) { return constraint.Parse(exprs) }

// CheckPreferences says whether placement preferences name something that nodes have.
func CheckPreferences(prefs []*api.PlacementPreference) error {
	for _, p := range prefs {
		if err := constraint.CheckKey(p.Spread); err != nil {
			return fmt.Errorf("placement preference spread=%s: %w", p.Spread, err)
		}
	}
	return nil
}

// FactsOf is what constraints can ask of a node.
func FactsOf(n *api.Node) constraint.Facts {
	role := "worker"
	if n.GetRole() == api.NodeRole_MANAGER {
		role = "manager"
	}
	d := n.GetDescription()
	return constraint.Facts{
		ID: n.GetId(), Hostname: d.GetHostname(), Role: role,
		OS: d.GetPlatform().GetOs(), Arch: d.GetPlatform().GetArchitecture(),
		Labels: n.GetSpec().GetLabels(), EngineLabels: d.GetEngineLabels(),
	}
}
