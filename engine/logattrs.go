//go:build linux

package engine

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// attributes choose what each line of a log has besides: labels and variables of the container, and a tag.
type attributes struct {
	labels, env chosen
	tag         string
}

// chosen are names, and names that have something in common.
type chosen struct {
	names   []string
	pattern *regexp.Regexp
}

func (c chosen) has(name string) bool {
	return slices.Contains(c.names, name) || c.pattern != nil && c.pattern.MatchString(name)
}

// pattern reads a regular expression; an empty one would choose everything.
func pattern(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, errors.New("a pattern is missing")
	}
	p, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	return p, nil
}

// field is what a tag may hold of a container. It is Go's template as far as Docker's tags need one: with all of text/template
// the linker would keep every method of every type in the daemon, a seventh of it.
var field = regexp.MustCompile(`\{\{ *\.(\w+) *\}\}`)

// checkTag refuses what is in braces and no field.
func checkTag(tag string) error {
	known := fieldsOf(&api.Container{})
	for _, m := range field.FindAllStringSubmatch(tag, -1) {
		if _, ok := known[m[1]]; !ok {
			return fmt.Errorf("no field %s: use %s", m[0], fieldNames(known))
		}
	}
	if rest := field.ReplaceAllString(tag, ""); strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return fmt.Errorf("only fields are there, no other templates: use %s", fieldNames(known))
	}
	return nil
}

func fieldNames(fields map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		out = append(out, "{{."+name+"}}")
	}
	return strings.Join(out, ", ")
}

// fieldsOf are a tag's fields, in Docker's words.
func fieldsOf(row *api.Container) map[string]string {
	image := strings.TrimPrefix(row.ImageId, "sha256:")
	return map[string]string{
		"ID": row.Id[:min(12, len(row.Id))], "FullID": row.Id, "Name": row.Name, "Command": strings.Join(row.Command, " "),
		"ImageID": image[:min(12, len(image))], "ImageFullID": image, "ImageName": row.ImageName, "DaemonName": "shoal",
	}
}

func fill(tag string, row *api.Container) string {
	fields := fieldsOf(row)
	return field.ReplaceAllStringFunc(tag, func(m string) string { return fields[field.FindStringSubmatch(m)[1]] })
}

// of makes them for a container. What an image says of itself is a label of the container's as well.
func (a attributes) of(row *api.Container, image map[string]string) map[string]string {
	out := map[string]string{}
	for _, labels := range []map[string]string{image, row.Spec.GetLabels()} {
		for name, value := range labels {
			if a.labels.has(name) {
				out[name] = value
			}
		}
	}
	for _, variable := range row.Env {
		if name, value, _ := strings.Cut(variable, "="); a.env.has(name) {
			out[name] = value
		}
	}
	if tag := fill(a.tag, row); tag != "" {
		out["tag"] = tag
	}
	return out
}
