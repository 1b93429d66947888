package main

import (
	"bytes"
	"strings"
	"testing"
	"text/template"
)

// TestTemplates compares with text/template wherever both know what is asked.
func TestTemplates(t *testing.T) {
	data := map[string]any{
		"Name": "web", "Count": 3, "Big": int64(1 << 40), "Ratio": 0.5, "Yes": true, "No": false, "Empty": "", "Nothing": nil, "Unsigned": uint32(7),
		"List": []any{"a", "b", "c"}, "Words": []string{"x", "y"}, "Map": map[string]string{"k": "v", "a": "b"},
		"Spec":   map[string]any{"Mode": map[string]any{"Replicas": uint64(4)}, "List": []any{map[string]any{"Name": "one"}, map[string]any{"Name": "two"}}},
		"Fields": fields{"Image": "web:1"}, "Html": "<a href=\"x&y\">it's \\ \x00\n\u00e9\u2028\U0001F600=</a>",
	}
	funcs := template.FuncMap{
		"json": templateJSON, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper, "truncate": cut,
		"title": strings.Title, //lint:ignore SA1019 it is what Docker has
		"join":  func(l []string, sep string) string { return strings.Join(l, sep) },
		"pad":   func(s string, a, b int) string { return strings.Repeat(" ", a) + s + strings.Repeat(" ", b) },
	}
	for _, text := range []string{
		"plain", "", "{{.Name}}", "{{ .Name }}: {{- .Count }}", "{{.Spec.Mode.Replicas}}", "{{.Fields.Image}}", "{{.Nothing}}", "{{.List}}", "{{.Ratio}} {{.Big}}",
		"{{if .Yes}}y{{else}}n{{end}}", "{{if .No}}y{{else if .Empty}}e{{else}}n{{end}}", "{{if not .Nothing}}none{{end}}",
		"{{with .Spec}}{{.Mode.Replicas}} {{$.Name}}{{end}}", "{{with .Empty}}x{{else}}nothing{{end}}",
		"{{range .List}}{{.}},{{end}}", "{{range $i, $v := .Words}}{{$i}}={{$v}};{{end}}", "{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}", "{{range .Nothing}}x{{else}}empty{{end}}",
		"{{range .Spec.List}}{{.Name}} {{end}}", "{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}", "{{range .List}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}",
		"{{$x := .Name}}{{$x}}{{$x = \"other\"}}{{$x}}", "{{$x := 1}}{{if .Yes}}{{$x = 2}}{{end}}{{$x}}", "{{$x := 1}}{{if .Yes}}{{$x := 2}}{{$x}}{{end}}{{$x}}",
		"{{json .Map}} {{.List | json}}", "{{join .Words \"-\"}}", "{{upper .Name}} {{.Name | upper | lower}} {{title .Name}}", "{{truncate .Name 2}}", "{{pad .Name 1 2}}|",
		"{{index .Map \"k\"}} {{index .Map \"none\"}}", "{{index .List 1}}", "{{(index .Spec.List 0).Name}}", "{{len .List}} {{len .Name}}", "{{slice .Name 1}} {{slice .List 0 2}}",
		"{{eq .Count 3}} {{eq .Name \"a\" \"web\"}} {{ne .Name \"x\"}}", "{{lt .Count 4}} {{le .Count 3}} {{gt .Ratio 0.1}} {{ge .Count 4}}", "{{gt .Unsigned 6}}",
		"{{and .Yes .Name}} {{and .No .Missing}} {{or .Empty .Name}} {{or .Yes .Missing}}", "{{printf \"%s-%03d\" .Name .Count}} {{print .Name .Count}} {{println .Name}}",
		"{{index (split .Name \"e\") 1}}", "{{/* said nothing */}}.", "{{true}} {{3}} {{1.5}} {{\"s\"}} {{`raw`}}", "{{if and .Yes (eq .Count 3)}}both{{end}}",
	} {
		want := &bytes.Buffer{}
		reference := template.Must(template.New("").Funcs(funcs).Option("missingkey=error").Parse(text))
		if err := reference.Execute(want, data); err != nil {
			t.Fatalf("%s: text/template says %v", text, err)
		}
		got := &bytes.Buffer{}
		parsed, err := parseTemplate(text)
		if err == nil {
			err = parsed.Execute(got, data)
		}
		if err != nil || got.String() != want.String() {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	data := map[string]any{"Name": "web", "List": []any{"a"}, labelsKey: map[string]string{"k": "v"}}
	for text, want := range map[string]string{
		"{{.Nope}}":                "there is no field .Nope",
		"{{.Name.Nope}}":           "there is no field .Nope",
		"{{.Name 1}}":              "can't give arguments to .Name: it is no function",
		"{{index .List 4}}":        "index: index 4 is out of range: there are 1",
		"{{upper .List}}":          "upper: wrong number or kind of arguments",
		"{{range .Name}}{{end}}":   "range can't iterate over web",
		"{{lt .Name 3}}":           "lt: can't compare web with 3",
		"{{nope .Name}}":           `--format: 1: function "nope" not defined`,
		"{{.Name":                  "--format: 1: unclosed action",
		"{{template \"x\"}}":       `template "x" is not defined`,
		"{{range 2000000}}{{end}}": "range counts to 1048576 at most",
		"{{html}}":                 "html: wrong number or kind of arguments",
		"{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}": `template "x" goes on for ever: it is within itself 10000 times`,
		"{{with $x := .Name}}{{end}}":                                 "",
	} {
		parsed, err := parseTemplate(text)
		if err == nil {
			err = parsed.Execute(&bytes.Buffer{}, data)
		}
		if got := textOf(err); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A table's first line names its columns as they are, whatever is done to the values below.
func TestTemplateHeader(t *testing.T) {
	l := listing{fields: []field{{"Name", "NAME"}, {"Image", "IMAGE"}}}
	var got bytes.Buffer
	text := `{{lower .Image}} {{title .Name}} {{json .Name}} {{truncate .Name 1}} {{pad .Name 1 1}}{{join (split .Name "w") "-"}}`
	if err := printTable(&got, l, text, []row{{"Name": "web", "Image": "A:1"}}); err != nil {
		t.Fatal(err)
	}
	if want := "IMAGE NAME NAME NAME NAMENAME\n" + "a:1 Web \"web\" w  web -eb\n"; got.String() != want {
		t.Errorf("got %q, want %q", &got, want)
	}
}
