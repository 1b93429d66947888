package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// row is one line of a listing: what each field of a template gives. Keys that begin with a
// small letter are not fields; labelsKey is what {{.Label "key"}} looks into.
type row map[string]any

const labelsKey = "labels"

// fields are a row without what is no field.
func (r row) fields() map[string]any {
	public := make(map[string]any, len(r))
	for k, v := range r {
		if k[0] >= 'A' && k[0] <= 'Z' {
			public[k] = v
		}
	}
	return public
}

// MarshalJSON is what {{json .}} shows.
func (r row) MarshalJSON() ([]byte, error) {
	s, err := templateJSON(r.fields())
	return []byte(s), err
}

// field is a column: the name that templates use and its header.
type field struct{ name, header string }

// listing is what a list verb can show.
type listing struct {
	fields []field
	table  string // the default template, tab separated
	quiet  string // the field that -q prints
}

// listFlags are the options that list verbs share.
type listFlags struct {
	format  string
	quiet   bool
	noTrunc bool
	filter  filters
}

// addListFlags defines the options by the names Docker gives them; what is nil a verb does not have.
func addListFlags(cmd *cobra.Command, f *listFlags, quietHelp, noTruncHelp string, keys ...string) {
	f.filter.allowed = keys
	fl := cmd.Flags()
	fl.VarP(&f.filter, "filter", "f", "Filter output based on conditions provided: "+strings.Join(keys, ", "))
	addFormatFlag(cmd, &f.format)
	fl.BoolVarP(&f.quiet, "quiet", "q", false, quietHelp)
	if noTruncHelp != "" {
		fl.BoolVar(&f.noTrunc, "no-trunc", false, noTruncHelp)
	}
}

func addFormatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "", "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json' or a Go TEMPLATE")
}

// list prints rows as the options ask.
func (c *cli) list(l listing, f listFlags, rows []row) error {
	switch {
	case f.quiet && f.format == "":
		for _, r := range rows {
			fmt.Fprintln(c.out, r[l.quiet])
		}
		return nil
	case f.format == "json":
		return printJSONRows(c.out, rows)
	case f.format == "" || f.format == "table":
		return printTable(c.out, l, l.table, rows)
	}
	if text, ok := strings.CutPrefix(f.format, "table "); ok {
		return printTable(c.out, l, text, rows)
	}
	return printRows(c.out, l, f.format, rows)
}

func printTable(w io.Writer, l listing, text string, rows []row) error {
	header := row{labelsKey: map[string]string(nil)}
	for _, f := range l.fields {
		header[f.name] = f.header
	}
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	if err := printRow(tw, l, t.ExecuteHeader, header); err != nil {
		return err
	}
	for _, r := range rows {
		if err := printRow(tw, l, t.Execute, r); err != nil {
			return err
		}
	}
	return tw.Flush()
}

func printRows(w io.Writer, l listing, text string, rows []row) error {
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := printRow(w, l, t.Execute, r); err != nil {
			return err
		}
	}
	return nil
}

func printRow(w io.Writer, l listing, execute func(io.Writer, any) error, r row) error {
	var line bytes.Buffer
	if err := execute(&line, r); err != nil {
		return templateError(err, l.names())
	}
	_, err := fmt.Fprintln(w, line.String())
	return err
}

// names are the fields as a template writes them.
func (l listing) names() string {
	var names []string
	for _, f := range l.fields {
		names = append(names, "."+f.name)
	}
	return strings.Join(names, " ")
}

func printJSONRows(w io.Writer, rows []row) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// templateError says in one line what a template asked for in vain.
func templateError(err error, fields string) error {
	var missing *missingField
	if errors.As(err, &missing) && fields != "" {
		return fmt.Errorf("--format: there is no field .%s, use one of %s", missing.name, fields)
	}
	return fmt.Errorf("--format: %w", err)
}
