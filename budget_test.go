package shoal_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The budget keeps growth a decision: raise a number here in the commit that needs it, and say why.
const (
	maxModules = 53       // linked into shoal, ours not counted; CDI's library is four, SELinux' two
	maxBinary  = 26 << 20 // bytes of bin/shoal, shim and all
	maxShim    = 2 << 20  // bytes of the shim; there is one per container
)

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

func TestModuleBudget(t *testing.T) {
	modules := goList(t, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "./cmd/shoal")
	slices.Sort(modules)
	modules = slices.Compact(modules)
	t.Logf("cmd/shoal links %d modules", len(modules))
	if len(modules) > maxModules {
		t.Errorf("cmd/shoal links %d modules, the budget is %d:\n%s", len(modules), maxModules, strings.Join(modules, "\n"))
	}
}

func TestShimStaysTiny(t *testing.T) {
	linked := goList(t, "-deps", "./cmd/shoal-shim")
	for _, heavy := range []string{"fmt", "encoding/json", "net/http", "net", "reflect", "os"} {
		if slices.Contains(linked, heavy) {
			t.Errorf("shoal-shim links %s: there is one shim per container", heavy)
		}
	}
	underLimit(t, "engine/shim/shoal-shim-"+goList(t, "-f", "{{context.GOARCH}}", "./internal/id")[0], maxShim)
}

// TestEveryModuleIsExplained holds docs/dependencies.md to go.mod.
func TestEveryModuleIsExplained(t *testing.T) {
	page, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range goList(t, "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all") {
		if !strings.Contains(string(page), "`"+m+"`") {
			t.Errorf("docs/dependencies.md says nothing of %s: what for, what else was weighed, what does it cost?", m)
		}
	}
}

// TestBinaryBudget looks at bin/shoal as make has built it. Its start is measured, not judged: the machine is shared.
func TestBinaryBudget(t *testing.T) {
	const bin = "bin/shoal"
	if !underLimit(t, bin, maxBinary) {
		return
	}
	best := time.Hour
	for range 10 {
		began := time.Now()
		if out, err := exec.Command(bin, "--version").CombinedOutput(); err != nil {
			t.Fatalf("%s --version: %v\n%s", bin, err, out)
		}
		best = min(best, time.Since(began))
	}
	t.Logf("start to end of shoal --version: %s, best of 10", best.Round(100*time.Microsecond))
}

// underLimit is false where the file has not been built.
func underLimit(t *testing.T, path string, limit int64) bool {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Logf("%s is not there: make build makes it", path)
		return false
	}
	t.Logf("%s has %.1f MB", path, float64(st.Size())/1e6)
	if st.Size() > limit {
		t.Errorf("%s has %d bytes, the budget is %d", path, st.Size(), limit)
	}
	return true
}
