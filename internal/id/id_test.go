package id

import (
	"regexp"
	"testing"
)

func TestForms(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		short, long := New(), NewHex()
		if !regexp.MustCompile(`^[0-9a-z]{25}$`).MatchString(short) {
			t.Fatalf("New() = %q, want 25 characters of base 36", short)
		}
		if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(long) {
			t.Fatalf("NewHex() = %q, want 64 hex digits", long)
		}
		if seen[short] || seen[long] {
			t.Fatal("an ID came twice")
		}
		seen[short], seen[long] = true, true
	}
}
