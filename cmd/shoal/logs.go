package main

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// logFlags are the options of logs and service logs.
type logFlags struct {
	follow, timestamps bool
	details            bool // with what --log-opt labels, env and tag say
	since, until, tail string
}

func (f *logFlags) add(cmd *cobra.Command, until bool) {
	fl := cmd.Flags()
	fl.BoolVarP(&f.follow, "follow", "f", false, "Follow log output")
	fl.BoolVar(&f.details, "details", false, "Show extra details provided to logs")
	fl.BoolVarP(&f.timestamps, "timestamps", "t", false, "Show timestamps")
	fl.StringVarP(&f.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	when := ` timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`
	fl.StringVar(&f.since, "since", "", "Show logs since"+when)
	if until {
		fl.StringVar(&f.until, "until", "", "Show logs before a"+when)
	}
}

func (f *logFlags) options(now time.Time) (*api.LogOptions, error) {
	o := &api.LogOptions{Follow: f.follow, Tail: -1, Details: f.details}
	if f.tail != "all" {
		n, err := strconv.ParseInt(f.tail, 10, 64)
		if err != nil || n < -1 {
			return nil, fmt.Errorf("invalid value %q for --tail: use a number of lines or 'all'", f.tail)
		}
		o.Tail = n
	}
	var err error
	if o.Since, err = parseMoment("since", f.since, now); err != nil {
		return nil, err
	}
	o.Until, err = parseMoment("until", f.until, now)
	return o, err
}

// momentForms are the forms of a point in time, in local time where they name no zone.
var momentForms = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01-02Z07:00",
}

// parseMoment reads a duration back from now, a date or seconds since 1970.
func parseMoment(flag, s string, now time.Time) (*timestamppb.Timestamp, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(s); err == nil && s != "0" { // 0 is 1970, as with Docker: all of it
		return timestamppb.New(now.Add(-d)), nil
	}
	for _, form := range momentForms {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return timestamppb.New(t), nil
		}
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil && sec >= 0 && sec < 1e11 {
		return timestamppb.New(time.UnixMicro(int64(sec * 1e6))), nil
	}
	return nil, fmt.Errorf("invalid value %q for --%s: use a time such as 2026-01-02T13:23:37Z or a duration such as 42m", s, flag)
}

// logStamp has a fixed width, so that the lines stay in columns.
const logStamp = "2006-01-02T15:04:05.000000000Z07:00"

// writeLine prints a line on the stream that it came from.
func (f *logFlags) writeLine(out, errOut io.Writer, prefix string, l *api.LogLine) error {
	w := out
	if l.Stderr {
		w = errOut
	}
	head := ""
	if f.timestamps {
		head = l.Time.AsTime().Format(logStamp) + " "
	}
	if f.details {
		head += detailsOf(l) + " "
	}
	_, err := fmt.Fprintf(w, "%s%s%s", head, prefix, l.Data)
	return err
}

// detailsOf are a line's attributes, as a=b,c=d, with what would stand in the way of reading them escaped.
func detailsOf(l *api.LogLine) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(l.Attrs)) {
		out = append(out, url.QueryEscape(key)+"="+url.QueryEscape(l.Attrs[key]))
	}
	return strings.Join(out, ",")
}
