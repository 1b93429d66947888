package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template/parse"
)

// evaluation is one execution of a template.
type evaluation struct {
	w     *bytes.Buffer
	funcs map[string]templateFunc
	trees map[string]*parse.Tree // the templates that {{template}} may name
	vars  []variable             // innermost last
	depth int                    // how many templates this one is within
}

// maxDepth is how far templates may go within each other: one that names itself would go on for ever.
const maxDepth = 10000

type variable struct {
	name  string
	value any
}

// errBreak and errContinue leave an iteration of range.
var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// list runs nodes in a scope of their own.
func (e *evaluation) list(dot any, l *parse.ListNode) error {
	if l == nil {
		return nil
	}
	defer func(n int) { e.vars = e.vars[:n] }(len(e.vars))
	for _, n := range l.Nodes {
		if err := e.node(dot, n); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluation) node(dot any, n parse.Node) error {
	switch n := n.(type) {
	case *parse.TextNode:
		e.w.Write(n.Text)
	case *parse.CommentNode:
	case *parse.ActionNode:
		v, err := e.pipe(dot, n.Pipe)
		if err != nil || len(n.Pipe.Decl) > 0 {
			return err
		}
		e.w.WriteString(printed(v))
	case *parse.IfNode:
		return e.branch(dot, &n.BranchNode, func(any) any { return dot })
	case *parse.WithNode:
		return e.branch(dot, &n.BranchNode, func(v any) any { return v })
	case *parse.RangeNode:
		return e.rangeOver(dot, n)
	case *parse.TemplateNode:
		return e.template(dot, n)
	case *parse.BreakNode:
		return errBreak
	case *parse.ContinueNode:
		return errContinue
	default:
		return fmt.Errorf("%s is not supported", n)
	}
	return nil
}

// template runs another one; the value that it is given is all it knows.
func (e *evaluation) template(dot any, n *parse.TemplateNode) error {
	v, err := e.pipe(dot, n.Pipe)
	if err != nil {
		return err
	}
	tree := e.trees[n.Name]
	switch {
	case tree == nil:
		return fmt.Errorf("template %q is not defined", n.Name)
	case e.depth == maxDepth:
		return fmt.Errorf("template %q goes on for ever: it is within itself %d times", n.Name, maxDepth)
	}
	inner := &evaluation{w: e.w, funcs: e.funcs, trees: e.trees, vars: []variable{{"$", v}}, depth: e.depth + 1}
	return inner.list(v, tree.Root)
}

// branch is if and with; inner gives the dot of its body.
func (e *evaluation) branch(dot any, b *parse.BranchNode, inner func(v any) any) error {
	defer func(n int) { e.vars = e.vars[:n] }(len(e.vars))
	v, err := e.pipe(dot, b.Pipe)
	if err != nil {
		return err
	}
	if truth(v) {
		return e.list(inner(v), b.List)
	}
	return e.list(dot, b.ElseList)
}

func (e *evaluation) rangeOver(dot any, n *parse.RangeNode) error {
	defer func(n int) { e.vars = e.vars[:n] }(len(e.vars))
	outer := len(e.vars)
	v, err := e.pipe(dot, n.Pipe)
	if err != nil {
		return err
	}
	keys, values, err := elements(v)
	if err != nil {
		return err
	}
	for i := range values {
		e.vars = e.vars[:outer]
		switch d := n.Pipe.Decl; len(d) {
		case 1:
			e.vars = append(e.vars, variable{d[0].Ident[0], values[i]})
		case 2:
			e.vars = append(e.vars, variable{d[0].Ident[0], keys[i]}, variable{d[1].Ident[0], values[i]})
		}
		switch err := e.list(values[i], n.List); err {
		case nil, errContinue:
		case errBreak:
			return nil
		default:
			return err
		}
	}
	if len(values) == 0 {
		return e.list(dot, n.ElseList)
	}
	return nil
}

// elements are what range goes over; those of a map in the order of its keys, those of a number n from 0 to n-1.
func elements(v any) (keys, values []any, err error) {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Invalid:
	case reflect.Slice, reflect.Array:
		for i := range r.Len() {
			keys, values = append(keys, i), append(values, r.Index(i).Interface())
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return upTo(asInt(r))
	case reflect.Map:
		sorted := r.MapKeys()
		slices.SortFunc(sorted, func(a, b reflect.Value) int { return compareText(a.String(), b.String()) })
		for _, k := range sorted {
			keys, values = append(keys, k.Interface()), append(values, r.MapIndex(k).Interface())
		}
	default:
		return nil, nil, fmt.Errorf("range can't iterate over %v", v)
	}
	return keys, values, nil
}

// maxRange is how far range counts.
const maxRange = 1 << 20

func asInt(r reflect.Value) int64 {
	if r.CanInt() {
		return r.Int()
	}
	return int64(min(r.Uint(), maxRange+1))
}

// upTo are the numbers below n.
func upTo(n int64) (keys, values []any, err error) {
	if n > maxRange {
		return nil, nil, fmt.Errorf("range counts to %d at most", maxRange)
	}
	for i := range int(n) {
		keys, values = append(keys, i), append(values, i)
	}
	return keys, values, nil
}

// pipe evaluates commands one after the other, each taking the result of the one before as its last argument.
func (e *evaluation) pipe(dot any, p *parse.PipeNode) (v any, err error) {
	if p == nil {
		return nil, nil
	}
	var last []any
	for _, cmd := range p.Cmds {
		if v, err = e.command(dot, cmd, last); err != nil {
			return nil, err
		}
		last = []any{v}
	}
	for _, d := range p.Decl {
		e.set(d.Ident[0], v, p.IsAssign)
	}
	return v, nil
}

func (e *evaluation) set(name string, v any, assign bool) {
	if assign {
		for i := len(e.vars) - 1; i >= 0; i-- {
			if e.vars[i].name == name {
				e.vars[i].value = v
				return
			}
		}
	}
	e.vars = append(e.vars, variable{name, v})
}

// command is a function with arguments, or a value.
func (e *evaluation) command(dot any, c *parse.CommandNode, last []any) (any, error) {
	first, args := c.Args[0], c.Args[1:]
	if id, ok := first.(*parse.IdentifierNode); ok {
		return e.call(dot, id.Ident, args, last)
	}
	if f, ok := first.(*parse.FieldNode); ok && len(f.Ident) == 1 && f.Ident[0] == "Label" && len(args) == 1 {
		return e.call(dot, "label", []parse.Node{&parse.DotNode{NodeType: parse.NodeDot}, args[0]}, nil)
	}
	if len(args)+len(last) > 0 {
		return nil, fmt.Errorf("can't give arguments to %s: it is no function", first)
	}
	return e.arg(dot, first)
}

// call evaluates arguments in order; and, or stop at the one that decides.
func (e *evaluation) call(dot any, name string, nodes []parse.Node, last []any) (any, error) {
	var args []any
	for _, n := range nodes {
		v, err := e.arg(dot, n)
		if err != nil {
			return nil, err
		}
		if (name == "and" || name == "or") && truth(v) == (name == "or") {
			return v, nil
		}
		args = append(args, v)
	}
	v, err := e.funcs[name](append(args, last...))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

func (e *evaluation) arg(dot any, n parse.Node) (any, error) {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot, nil
	case *parse.NilNode:
		return nil, nil
	case *parse.FieldNode:
		return fieldChain(dot, n.Ident)
	case *parse.VariableNode:
		return e.variable(n)
	case *parse.ChainNode:
		v, err := e.arg(dot, n.Node)
		if err != nil {
			return nil, err
		}
		return fieldChain(v, n.Field)
	case *parse.PipeNode:
		return e.pipe(dot, n)
	case *parse.IdentifierNode:
		return e.call(dot, n.Ident, nil, nil)
	case *parse.StringNode:
		return n.Text, nil
	case *parse.BoolNode:
		return n.True, nil
	case *parse.NumberNode:
		switch {
		case n.IsInt:
			return int(n.Int64), nil
		case n.IsUint:
			return n.Uint64, nil
		case n.IsFloat:
			return n.Float64, nil
		}
	}
	return nil, fmt.Errorf("%s is not supported", n)
}

func (e *evaluation) variable(n *parse.VariableNode) (any, error) {
	for i := len(e.vars) - 1; i >= 0; i-- {
		if e.vars[i].name == n.Ident[0] {
			return fieldChain(e.vars[i].value, n.Ident[1:])
		}
	}
	return nil, fmt.Errorf("undefined variable %s", n.Ident[0])
}

func fieldChain(v any, names []string) (any, error) {
	for _, name := range names {
		r := pointedAt(v)
		if r.Kind() == reflect.Struct {
			f, ok := structField(r, name)
			if !ok {
				return nil, &missingField{name}
			}
			v = f.Interface()
			continue
		}
		if r.Kind() != reflect.Map || r.Type().Key().Kind() != reflect.String {
			return nil, &missingField{name}
		}
		got := r.MapIndex(reflect.ValueOf(name).Convert(r.Type().Key()))
		if !got.IsValid() && r.Type().Elem().Kind() == reflect.String {
			got = reflect.ValueOf("") // a label or an attribute: not everything has it
		}
		if !got.IsValid() {
			return nil, &missingField{name}
		}
		v = got.Interface()
	}
	return v, nil
}

// pointedAt is the value behind a pointer.
func pointedAt(v any) reflect.Value {
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer {
		return r.Elem()
	}
	return r
}

// structField finds a field by its own name or by the one it has in JSON.
func structField(r reflect.Value, name string) (reflect.Value, bool) {
	for _, f := range reflect.VisibleFields(r.Type()) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && (f.Name == name || tag == name) {
			return r.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

// truth is false for nothing, false, zero and what is empty.
func truth(v any) bool {
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Invalid:
		return false
	case reflect.Map, reflect.Slice, reflect.Array, reflect.String:
		return r.Len() > 0
	}
	return !r.IsZero()
}

func printed(v any) string {
	if v == nil {
		return "<no value>"
	}
	if r := pointedAt(v); r.IsValid() && r.Kind() != reflect.Struct {
		return fmt.Sprint(r.Interface())
	}
	return fmt.Sprint(v)
}
