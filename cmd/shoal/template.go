package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
)

// parseTemplate reads a --format template. As in Docker's, \t and \n stand for themselves.
func parseTemplate(text string) (*template.Template, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	t, err := template.New("").Funcs(templateFuncs()).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--format: %s", strings.TrimPrefix(err.Error(), "template: :"))
	}
	callLabels(t.Root)
	return t, nil
}

// templateFuncs are Docker's.
func templateFuncs() template.FuncMap {
	return template.FuncMap{
		"json":  templateJSON,
		"split": strings.Split,
		"join":  joinAny,
		"title": func(s string) string { return strings.ToUpper(cut(s, 1)) + s[min(1, len(s)):] },
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"pad": func(s string, before, after int) string {
			return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
		},
		"truncate": cut,
		"label":    func(r map[string]any, key string) string { m, _ := r[labelsKey].(map[string]string); return m[key] },
	}
}

func templateJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func joinAny(list any, sep string) string {
	switch l := list.(type) {
	case []string:
		return strings.Join(l, sep)
	case []any:
		parts := make([]string, len(l))
		for i, v := range l {
			parts[i] = fmt.Sprint(v)
		}
		return strings.Join(parts, sep)
	}
	return fmt.Sprint(list)
}

// callLabels turns {{.Label "key"}} into {{label . "key"}}: rows are maps, and a map has no methods.
func callLabels(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			callLabels(child)
		}
	case *parse.ActionNode:
		callLabels(n.Pipe)
	case *parse.IfNode:
		callBranch(&n.BranchNode)
	case *parse.WithNode:
		callBranch(&n.BranchNode)
	case *parse.RangeNode:
		callBranch(&n.BranchNode)
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, cmd := range n.Cmds {
			callLabels(cmd)
		}
	case *parse.CommandNode:
		callCommand(n)
	}
}

func callBranch(b *parse.BranchNode) {
	callLabels(b.Pipe)
	callLabels(b.List)
	callLabels(b.ElseList)
}

func callCommand(n *parse.CommandNode) {
	for _, arg := range n.Args {
		callLabels(arg)
	}
	f, ok := n.Args[0].(*parse.FieldNode)
	if !ok || len(n.Args) != 2 || len(f.Ident) != 1 || f.Ident[0] != "Label" {
		return
	}
	n.Args = []parse.Node{parse.NewIdentifier("label").SetPos(n.Pos), &parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Args[1]}
}
