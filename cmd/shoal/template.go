package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/template/parse"
)

// Templates of --format are Go's, read by Go's own parser. They are executed here and not by text/template: that
// package finds methods by name, so the linker must keep every method of everything, which is 2.5 MB of this program.
// What is executed is data only (maps, lists, text, numbers), and that takes a few lines.

// goTemplate is a parsed template, by name those that it defines, and by "" itself.
type goTemplate struct{ trees map[string]*parse.Tree }

// parseTemplate reads a --format template. As in Docker's, \t and \n stand for themselves.
func parseTemplate(text string) (*goTemplate, error) {
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(text)
	known := map[string]any{}
	for name := range templateFuncs() {
		known[name] = true
	}
	trees, err := parse.Parse("", text, "", "", known)
	if err != nil {
		return nil, fmt.Errorf("--format: %s", strings.TrimPrefix(err.Error(), "template: :"))
	}
	return &goTemplate{trees}, nil
}

// Execute writes the template's text for one value.
func (t *goTemplate) Execute(w io.Writer, data any) error { return t.execute(w, data, templateFuncs()) }

// ExecuteHeader writes a table's first line; data holds the columns' names.
func (t *goTemplate) ExecuteHeader(w io.Writer, data any) error {
	return t.execute(w, data, headerFuncs())
}

func (t *goTemplate) execute(w io.Writer, data any, funcs map[string]templateFunc) error {
	tree := t.trees[""]
	if tree == nil { // nothing but definitions
		return nil
	}
	var b bytes.Buffer
	e := &evaluation{w: &b, funcs: funcs, trees: t.trees, vars: []variable{{"$", data}}}
	if err := e.list(data, tree.Root); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// missingField is a field that a template asked for in vain.
type missingField struct{ name string }

func (m *missingField) Error() string { return "there is no field ." + m.name }
