package names

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestForms compares with regular expressions, which say the same and take a hundred microseconds to begin with.
func TestForms(t *testing.T) {
	object := regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	hex := regexp.MustCompile(`^[0-9a-f]{2,5}$`)
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-gZ09_./ü-]{0,6}`).Draw(t, "name")
		if got := Object(s); got != object.MatchString(s) {
			t.Errorf("Object(%q) = %v", s, got)
		}
		if got := Hex(s, 2, 5); got != hex.MatchString(s) {
			t.Errorf("Hex(%q, 2, 5) = %v", s, got)
		}
		if got, want := EndsClean(s), s != "" && strings.ContainsAny(s[len(s)-1:], "abcdefgZ09"); got != want {
			t.Errorf("EndsClean(%q) = %v", s, got)
		}
	})
}
