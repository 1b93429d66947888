package shoal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestMessagesNameFlags: who gives --memory-swap does not know what memory_swap is. Fields with an underscore are those
// that cannot be ordinary words.
func TestMessagesNameFlags(t *testing.T) {
	fields := map[string]bool{}
	for _, m := range []protoreflect.ProtoMessage{
		&api.ContainerSpec{}, &api.ContainerLimits{}, &api.ServiceSpec{}, &api.NetworkSpec{}, &api.NodeSpec{}, &api.ClusterSpec{},
		&api.Mount{}, &api.HealthConfig{}, &api.CreateContainerRequest{}, &api.UpdateContainerRequest{},
	} {
		all := m.ProtoReflect().Descriptor().Fields()
		for i := range all.Len() {
			if name := string(all.Get(i).Name()); strings.Contains(name, "_") {
				fields[name] = true
			}
		}
	}
	delete(fields, "oom_score_adj") // is a file of the kernel's as well
	word := regexp.MustCompile(`\b[a-z]+(_[a-z]+)+\b`)
	for _, dir := range []string{"engine", "manager", "agent", "cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			return messages(path, func(at token.Position, text string) {
				for _, w := range word.FindAllString(text, -1) {
					if fields[w] {
						t.Errorf("%s: %q names the field %s: a person knows its flag", at, text, w)
					}
				}
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// messages calls f for a file's texts, but not for the tags of fields: any may become a part of an error.
func messages(path string, f func(token.Position, string)) error {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		return err
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			return false
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				f(files.Position(n.Pos()), s)
			}
		}
		return true
	})
	return nil
}
