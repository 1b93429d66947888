//go:build linux

package signals

import "testing"

func TestParse(t *testing.T) {
	for s, want := range map[string]int{
		"TERM": 15, "SIGTERM": 15, "sigkill": 9, "9": 9, "64": 64, "RTMIN": 34, "SIGRTMIN+3": 37, "rtmin+30": 64, "RTMAX": 64, "SIGRTMAX-1": 63, "RTMAX-30": 34,
	} {
		if got, err := Parse(s); err != nil || int(got) != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "65", "-1", "NOPE", "SIG", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN+", "RTMAX-x"} {
		if got, err := Parse(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}
