package main

import "math/rand/v2"

// randomName names a service that was given none.
func randomName() string {
	moods := []string{"brisk", "calm", "clear", "deep", "drifting", "even", "fresh", "gentle", "keen", "lively", "placid", "quick", "silver", "steady", "still", "swift"}
	fish := []string{"anchovy", "bream", "capelin", "char", "dace", "grayling", "herring", "minnow", "mullet", "perch", "pilchard", "roach", "sardine", "smelt", "sprat", "tench"}
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	tail := make([]byte, 4)
	for i := range tail {
		tail[i] = letters[rand.IntN(len(letters))]
	}
	return moods[rand.IntN(len(moods))] + "-" + fish[rand.IntN(len(fish))] + "-" + string(tail)
}
