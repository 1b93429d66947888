// Package poll waits in tests for what nobody tells.
package poll

import "time"

// every is how often it looks.
const every = 3 * time.Millisecond

// Until looks again and again, at once and at least twice, whether ok holds. False says that it never did within the limit.
func Until(limit time.Duration, ok func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	late := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			return ok()
		}
	}
	return true
}
