//go:build linux

package engine

import (
	"math/rand/v2"
	"strconv"
)

var adjectives = []string{
	"amber", "brisk", "calm", "clever", "coral", "deep", "eager", "fleet", "gentle", "glassy", "golden", "keen",
	"lively", "lucid", "mellow", "nimble", "patient", "placid", "quick", "quiet", "salty", "silver", "sleek",
	"steady", "sunny", "swift", "tidal", "vivid", "wandering", "wise",
}

var nouns = []string{
	"anchovy", "barbel", "bream", "capelin", "char", "cod", "dace", "dory", "eel", "flounder", "garfish", "goby",
	"grayling", "gurnard", "herring", "lamprey", "loach", "mackerel", "minnow", "mullet", "perch", "pike", "pilchard",
	"roach", "salmon", "sardine", "smelt", "sprat", "tench", "trout", "turbot", "wrasse",
}

// freeName makes up a name that nobody has; e.mu is held.
func (e *Engine) freeName() string {
	for try := 0; ; try++ {
		name := adjectives[rand.IntN(len(adjectives))] + "_" + nouns[rand.IntN(len(nouns))]
		if try > 5 {
			name += strconv.Itoa(rand.IntN(1 << (try + 4)))
		}
		if _, taken := e.names[name]; !taken {
			return name
		}
	}
}
