// The rules of the house, as tests that say why. See docs/architecture.md.
package shoal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/shoal-dev/shoal/"

// layers says which of our packages a package may import, by longest matching path. Siblings below the same entry
// may import each other; everything else must be listed.
var layers = map[string]struct {
	may []string
	why string
}{
	"proto":                {nil, "the objects are below everything"},
	"internal":             {nil, "internal holds leaf helpers on the standard library alone"},
	"scheduler":            {[]string{"proto", "internal"}, "the scheduler is pure: objects in, placements out"},
	"client":               {[]string{"proto", "internal"}, "the client runs on machines that are no nodes"},
	"manager/store":        {[]string{"proto", "internal"}, "the store knows rows, not what they mean"},
	"manager/raft":         {[]string{"proto", "internal", "manager/store"}, "raft carries the store's commands"},
	"manager/ca":           {[]string{"proto", "internal", "manager/store"}, "loops share state through the store, never by calling each other"},
	"manager/control":      {[]string{"proto", "internal", "manager/store"}, "loops share state through the store, never by calling each other"},
	"manager/allocator":    {[]string{"proto", "internal", "manager/store"}, "loops share state through the store, never by calling each other"},
	"manager/orchestrator": {[]string{"proto", "internal", "manager/store"}, "loops share state through the store, never by calling each other"},
	"manager/placement":    {[]string{"proto", "internal", "manager/store", "scheduler"}, "placement feeds the scheduler and commits what it says"},
	"manager/dispatcher":   {[]string{"proto", "internal", "manager/store"}, "loops share state through the store, never by calling each other"},
	"manager/logs":         {[]string{"proto", "internal", "manager/store"}, "loops share state through the store, never by calling each other"},
	"manager":              {[]string{"proto", "internal", "scheduler", "manager"}, "package manager wires its loops and knows nothing of agents"},
	"nameserver":           {[]string{"internal"}, "the name server knows questions and answers, not networks or containers"},
	"engine":               {[]string{"proto", "internal", "nameserver"}, "the engine runs containers of one node and knows no cluster"},
	"overlay":              {[]string{"proto", "internal", "nameserver"}, "the overlay knows namespaces and addresses, not containers or rows"},
	"agent":                {[]string{"proto", "internal", "engine", "overlay"}, "the agent maps tasks onto engine and overlay; managers are only reached over the wire"},
	"node":                 {[]string{"proto", "internal", "manager", "agent", "engine", "overlay", "nameserver", "client"}, "node is the one place where manager and agent meet"},
	"cmd/shoal-shim":       {[]string{"engine/shim", "internal"}, "the shim stays tiny"},
	"cmd/shoal/execfirst":  {[]string{"internal"}, "what runs before the other packages needs none of them"},
	"cmd/shoal":            {[]string{"proto", "internal", "client", "node", "engine/shim", "cmd/shoal/execfirst"}, "the command line is a client, and starts the daemon through node"},
	"deploy":               {nil, "deploy is scripts and their test"},
	"e2e":                  {[]string{"proto", "internal", "client", "e2e"}, "end-to-end tests use what users use"},
	"bench":                {[]string{"proto", "internal", "client", "e2e"}, "benchmarks use what users use"},
}

type pkg struct {
	ImportPath   string
	Dir          string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Standard     bool
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// layerOf is the longest entry of layers that path is at or below.
func layerOf(path string) string {
	best := ""
	for l := range layers {
		if (path == l || strings.HasPrefix(path, l+"/")) && len(l) > len(best) {
			best = l
		}
	}
	return best
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		layer := layerOf(path)
		if layer == "" {
			t.Errorf("%s is in no layer: add it to layers in arch_test.go and to docs/architecture.md", path)
			continue
		}
		for _, imp := range p.Imports {
			if err := allowed(layer, imp); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func allowed(layer, imp string) error {
	to, ours := strings.CutPrefix(imp, module)
	if !ours {
		if layer == "internal" && strings.Contains(strings.Split(imp, "/")[0], ".") {
			return fmt.Errorf("imports %s: %s", imp, layers[layer].why)
		}
		return nil
	}
	if layerOf(to) == layer {
		return nil
	}
	for _, l := range layers[layer].may {
		if to == l || strings.HasPrefix(to, l+"/") {
			return nil
		}
	}
	return fmt.Errorf("may not import %s: %s", to, layers[layer].why)
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasSuffix(p.ImportPath, "/proto/api") {
			continue // generated; the .proto files say it
		}
		files, _ := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		var docs []string
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Doc != nil {
				docs = append(docs, filepath.Base(f))
			}
		}
		if len(docs) == 0 && len(p.Imports) > 0 && !onlyTests(files) {
			t.Errorf("%s has no package comment: say what it is for and what it does not do", p.ImportPath)
		}
		if len(docs) > 1 {
			t.Errorf("%s has package comments in %v: one is enough", p.ImportPath, docs)
		}
	}
}

func onlyTests(files []string) bool {
	return !slices.ContainsFunc(files, func(f string) bool { return !strings.HasSuffix(f, "_test.go") })
}

// initAllowed are the few init functions that the house allows, and why.
var initAllowed = map[string]string{
	"cmd/shoal/execfirst/first.go": "what it does, it does before the other packages are initialised; its package comment says why",
}

func TestNoInitFunctions(t *testing.T) {
	found := 0
	for _, p := range packages(t) {
		files, _ := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		for _, f := range files {
			if strings.HasSuffix(f, ".pb.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(b, []byte("\nfunc init()")) {
				continue
			}
			path := filepath.Join(strings.TrimPrefix(p.ImportPath, module), filepath.Base(f))
			if initAllowed[path] == "" {
				t.Errorf("%s has an init function: wiring reads top to bottom in one place", path)
			}
			found++
		}
	}
	if found != len(initAllowed) {
		t.Errorf("%d init functions are there and %d allowed: strike those that are gone", found, len(initAllowed))
	}
}
