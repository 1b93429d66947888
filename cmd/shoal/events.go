package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// eventsFlags are the options of events.
type eventsFlags struct {
	since, until, format string
	filter               filters
}

func newEventsCommand(c *cli) *cobra.Command {
	var o eventsFlags
	o.filter.allowed = []string{"container", "event", "image", "label", "network", "scope", "type", "volume"}
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Get real time events from the server",
		Example: `  shoal events --filter type=container --filter event=die
  shoal events --since 1h --until 0s
  shoal events --format '{{.Time}} {{.Action}} {{.Actor.Attributes.name}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.events(cmd.Context(), &o)
		},
	}
	f := cmd.Flags()
	f.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided: "+strings.Join(o.filter.allowed, ", "))
	f.StringVar(&o.format, "format", "", "Format output using a custom template: 'json' or a Go TEMPLATE")
	f.StringVar(&o.since, "since", "", "Show all events created since timestamp")
	f.StringVar(&o.until, "until", "", "Stream events until this timestamp")
	return cmd
}

func (c *cli) events(ctx context.Context, o *eventsFlags) error {
	show, err := c.eventPrinter(o.format)
	if err != nil {
		return err
	}
	if err := o.filter.oneOf("type", "container", "image", "network", "volume"); err != nil {
		return err
	}
	now, r := time.Now(), &api.EventsRequest{}
	if r.Since, err = parseMoment("since", o.since, now); err != nil {
		return err
	}
	if r.Until, err = parseMoment("until", o.until, now); err != nil {
		return err
	}
	d, err := c.client()
	if err != nil {
		return err
	}
	stream, err := d.Containers.Events(ctx, r)
	if err != nil {
		return err
	}
	for {
		ev, err := stream.Recv()
		if isEOF(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if !wantedEvent(&o.filter, ev) {
			continue
		}
		if err := show(ev); err != nil {
			return err
		}
	}
}

// wantedEvent applies the filters as Docker does: one for an object also finds what happened to others because of it.
func wantedEvent(f *filters, ev *api.Event) bool {
	action, _, _ := strings.Cut(ev.Action, ":")
	about := func(kind string) bool {
		return f.any(kind, func(want string) bool {
			if ev.Type == kind && (strings.HasPrefix(ev.Id, want) || ev.Attributes["name"] == want) {
				return true
			}
			return strings.HasPrefix(ev.Attributes[kind], want) && (kind == "container" || ev.Attributes[kind] == want)
		})
	}
	image := func(want string) bool {
		for _, have := range []string{ev.Attributes["image"], ev.Attributes["name"], ev.Id} {
			if (ev.Type == "image" || have == ev.Attributes["image"]) && have != "" && (have == want || strings.HasPrefix(have, want+":") || strings.HasPrefix(shortHex(have), want)) {
				return true
			}
		}
		return false
	}
	return f.any("event", func(want string) bool { return want == action || want == ev.Action }) && f.exact("type", ev.Type) && f.exact("scope", "local") &&
		f.labels("label", ev.Attributes) && about("container") && about("network") && about("volume") && f.any("image", image)
}

// eventPrinter prints events as lines, as JSON or by a template.
func (c *cli) eventPrinter(format string) (func(*api.Event) error, error) {
	switch format {
	case "":
		return func(ev *api.Event) error {
			_, err := fmt.Fprintln(c.out, eventLine(ev))
			return err
		}, nil
	case "json", "{{json .}}":
		enc := json.NewEncoder(c.out)
		enc.SetEscapeHTML(false)
		return func(ev *api.Event) error { return enc.Encode(newEventJSON(ev)) }, nil
	}
	t, err := parseTemplate(format)
	if err != nil {
		return nil, err
	}
	return func(ev *api.Event) error {
		var line bytes.Buffer
		if err := t.Execute(&line, newEventJSON(ev).fields()); err != nil {
			return templateError(err, ".Type .Action .Actor.ID .Actor.Attributes .Status .ID .From .Scope .Time .TimeNano")
		}
		_, err = fmt.Fprintln(c.out, line.String())
		return err
	}, nil
}

func eventLine(ev *api.Event) string {
	line := ev.Time.AsTime().Local().Format(logStamp) + " " + ev.Type + " " + ev.Action + " " + ev.Id
	if len(ev.Attributes) > 0 {
		line += " (" + strings.Join(sortedPairs(ev.Attributes), ", ") + ")"
	}
	return line
}

// eventJSON is an event as Docker's API has it.
type eventJSON struct {
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
	Type   string
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

func newEventJSON(ev *api.Event) *eventJSON {
	e := &eventJSON{Type: ev.Type, Action: ev.Action, Scope: "local", Time: ev.Time.GetSeconds(), TimeNano: ev.Time.AsTime().UnixNano()}
	e.Actor.ID, e.Actor.Attributes = ev.Id, orEmptyMap(ev.Attributes)
	if ev.Type == "container" || ev.Type == "image" {
		e.Status, e.ID, e.From = ev.Action, ev.Id, ev.Attributes["image"]
	}
	return e
}

// fields are what templates see: the same under Go's names.
func (e *eventJSON) fields() map[string]any {
	return map[string]any{
		"Type": e.Type, "Action": e.Action, "Actor": map[string]any{"ID": e.Actor.ID, "Attributes": e.Actor.Attributes},
		"Status": e.Status, "ID": e.ID, "From": e.From, "Scope": e.Scope, "Time": e.Time, "TimeNano": e.TimeNano,
	}
}
