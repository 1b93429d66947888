package spec

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestMergeEnv(t *testing.T) {
	got := MergeEnv([]string{"A=1", "B=2", "C=3"}, []string{"B", "C=4", "D=5", "B=6", "A", "E"})
	if want := []string{"C=4", "D=5", "B=6"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestHugeEnv: an image with very many variables costs no more than to read it.
func TestHugeEnv(t *testing.T) {
	var env []string
	for i := range 500_000 {
		env = append(env, "V"+strconv.Itoa(i)+"=")
	}
	begun := time.Now()
	if got := MergeEnv([]string{"PATH=/bin"}, env); len(got) != len(env)+1 {
		t.Errorf("%d variables", len(got))
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}
