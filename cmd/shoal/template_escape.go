package main

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Those of Go's functions that make text safe to stand in something else. They are done by hand since text/template, whose
// they are, is not in this program (template.go).

// escaped makes a function of all its arguments, printed.
func escaped(escape func(string) string) templateFunc {
	return func(args []any) (any, error) {
		if len(args) == 0 {
			return nil, errArguments
		}
		if s, ok := args[0].(string); ok && len(args) == 1 {
			return escape(s), nil
		}
		shown := make([]any, len(args))
		for i, a := range args {
			if shown[i] = a; a == nil {
				shown[i] = printed(a)
			} else if r := pointedAt(a); r.IsValid() {
				shown[i] = r.Interface()
			}
		}
		return escape(fmt.Sprint(shown...)), nil
	}
}

func escapeHTML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;", "\x00", "\ufffd").Replace(s)
}

func escapeURL(s string) string { return url.QueryEscape(s) }

// escapeJS makes what can stand in a text of JavaScript, within HTML too.
func escapeJS(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune(`\'"`, r):
			b.WriteString(`\` + string(r))
		case strings.ContainsRune("<>&=", r) || !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
