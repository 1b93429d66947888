// Package constraint reads and checks placement constraints such as "node.labels.disk == ssd".
//
// It knows a node only as Facts, plain values that the caller fills in. It is shared by
// scheduler (which nodes may a task go to) and by the orchestrator of global services
// (which nodes get a task).
package constraint

import (
	"fmt"
	"slices"
	"strings"
)

// Constraint is one condition on a node.
type Constraint struct {
	Key    string // node.id, node.labels.disk, ...
	Negate bool   // != instead of ==
	Value  string
}

// Facts are what constraints can ask of a node.
type Facts struct {
	ID, Hostname, Role, OS, Arch string
	Labels, EngineLabels         map[string]string
}

const keys = "node.id, node.hostname, node.role, node.platform.os, node.platform.arch, node.labels.NAME, engine.labels.NAME"

// Parse reads expressions of the form KEY==VALUE or KEY!=VALUE; blanks around each part are dropped.
func Parse(exprs []string) ([]Constraint, error) {
	var out []Constraint
	for _, e := range exprs {
		c, err := parse(e)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func parse(expr string) (Constraint, error) {
	eq, ne := strings.Index(expr, "=="), strings.Index(expr, "!=")
	at := eq
	if eq < 0 || ne >= 0 && ne < eq {
		at = ne
	}
	if at < 0 {
		return Constraint{}, fmt.Errorf("constraint %q: want KEY==VALUE or KEY!=VALUE", expr)
	}
	c := Constraint{
		Key:    strings.TrimSpace(expr[:at]),
		Negate: at == ne,
		Value:  strings.TrimSpace(expr[at+2:]),
	}
	if err := CheckKey(c.Key); err != nil {
		return Constraint{}, fmt.Errorf("constraint %q: %w", expr, err)
	}
	if c.Value == "" {
		return Constraint{}, fmt.Errorf("constraint %q: nothing to compare %s with", expr, c.Key)
	}
	role := strings.ToLower(c.Value)
	if c.Key == "node.role" && !slices.Contains([]string{"manager", "worker"}, role) {
		return Constraint{}, fmt.Errorf("constraint %q: a role is manager or worker", expr)
	}
	return c, nil
}

// CheckKey says whether a key can be asked of a node; placement preferences use the same keys.
func CheckKey(key string) error {
	switch key {
	case "node.id", "node.hostname", "node.role", "node.platform.os", "node.platform.arch":
		return nil
	}
	for _, prefix := range []string{"node.labels.", "engine.labels."} {
		if name, ok := strings.CutPrefix(key, prefix); ok && name != "" && !strings.ContainsAny(name, " =!") {
			return nil
		}
	}
	return fmt.Errorf("unknown key %q, known are %s", key, keys)
}

// String prints the constraint as a person would write it.
func (c Constraint) String() string {
	if c.Negate {
		return c.Key + " != " + c.Value
	}
	return c.Key + " == " + c.Value
}

// Match says whether a node meets the constraint. Values are compared without regard to
// case, as Docker does; a label that is missing equals nothing.
func (c Constraint) Match(f Facts) bool {
	got := f.Get(c.Key)
	equal := strings.EqualFold(got, c.Value)
	if c.Key == "node.platform.arch" {
		equal = Arch(got) == Arch(c.Value)
	}
	return equal != c.Negate
}

// Get returns the value of a key, "" if there is none.
func (f Facts) Get(key string) string {
	switch key {
	case "node.id":
		return f.ID
	case "node.hostname":
		return f.Hostname
	case "node.role":
		return f.Role
	case "node.platform.os":
		return f.OS
	case "node.platform.arch":
		return f.Arch
	}
	if name, ok := strings.CutPrefix(key, "node.labels."); ok {
		return f.Labels[name]
	}
	if name, ok := strings.CutPrefix(key, "engine.labels."); ok {
		return f.EngineLabels[name]
	}
	return ""
}

// Unmet returns the first constraint that a node does not meet.
func Unmet(cs []Constraint, f Facts) (Constraint, bool) {
	for _, c := range cs {
		if !c.Match(f) {
			return c, true
		}
	}
	return Constraint{}, false
}

// Arch turns the kernel's names of an architecture into Go's.
func Arch(name string) string {
	switch name = strings.ToLower(name); name {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return name
}
