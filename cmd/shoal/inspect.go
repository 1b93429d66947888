package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

// lookup finds one object and gives it in the shape that inspect shows.
type lookup func(ctx context.Context, name string) (any, error)

// addObjectFormat defines --format of verbs that show whole objects.
func addObjectFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "format", "f", "", "Format output using a custom template: 'json' or a Go TEMPLATE")
}

// inspect prints a JSON array of what was found, then what was not.
func (c *cli) inspect(ctx context.Context, names []string, format string, find lookup) error {
	var found []any
	var errs []error
	for _, name := range names {
		o, err := find(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, o)
	}
	if err := c.printObjects(format, found); err != nil {
		return err
	}
	for _, err := range errs {
		c.sayError(err)
	}
	if len(errs) > 0 {
		return &exitError{code: exitFailure}
	}
	return nil
}

func (c *cli) printObjects(format string, objects []any) error {
	if format == "" || format == "json" {
		indent := "    "
		if format == "json" {
			indent = ""
		}
		return c.printJSON(append([]any{}, objects...), indent)
	}
	for _, o := range objects {
		if err := c.printObject(format, o); err != nil {
			return err
		}
	}
	return nil
}

// printObject prints one object through --format.
func (c *cli) printObject(format string, o any) error {
	if format == "json" {
		return c.printJSON(o, "")
	}
	t, err := parseTemplate(format)
	if err != nil {
		return &exitError{code: exitTemplate, err: err}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, o); err != nil {
		return templateError(err, "")
	}
	fmt.Fprintln(c.out, b.String())
	return nil
}

func (c *cli) printJSON(v any, indent string) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// meta is what every object of the store begins with.
func meta(id string, m *api.Meta) map[string]any {
	return map[string]any{
		"ID": id, "Version": map[string]any{"Index": m.GetVersion()},
		"CreatedAt": rfc3339(m.GetCreatedAt()), "UpdatedAt": rfc3339(m.GetUpdatedAt()),
	}
}

// kinds of objects that `shoal inspect` finds, in the order in which it looks.
var inspectKinds = []string{"container", "image", "network", "volume", "node", "service", "task"}

func newInspectCommand(c *cli) *cobra.Command {
	var format string
	var size bool
	kind := choiceOpt{choices: inspectKinds}
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short: "Return low-level information on Shoal objects",
		Example: `  shoal inspect -f '{{json .Mounts}}' web
  shoal inspect --type volume data
  shoal inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' web`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.allNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inspect(cmd.Context(), args, format, c.lookupKind(kind.value, size))
		},
	}
	addObjectFormat(cmd, &format)
	addSizeFlag(cmd, &size)
	cmd.Flags().Var(&kind, "type", "Only inspect objects of the given type")
	return cmd
}

func addSizeFlag(cmd *cobra.Command, size *bool) {
	cmd.Flags().BoolVarP(size, "size", "s", false, "Display total file sizes if the type is container")
}

// lookupKind finds objects of one kind, or of any. size is for containers.
func (c *cli) lookupKind(kind string, size bool) lookup {
	finders := map[string]lookup{
		"container": c.lookupContainer, "image": c.lookupImage, "network": c.lookupNetwork, "volume": c.lookupVolume,
		"node": c.lookupNode, "service": c.lookupService, "task": c.lookupTask,
	}
	if size {
		finders["container"] = c.lookupContainerSize
	}
	if kind != "" {
		return finders[kind]
	}
	return func(ctx context.Context, name string) (any, error) {
		for i, k := range inspectKinds {
			o, err := finders[k](ctx, name)
			if err == nil {
				return o, nil
			}
			// The first question shows whether a daemon is there at all; a worker has no answer to the later ones.
			if i == 0 && !client.IsNotFound(err) {
				return nil, err
			}
		}
		return nil, fmt.Errorf("no such object: %s", name)
	}
}
