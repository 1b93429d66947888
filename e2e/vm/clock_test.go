//go:build linux

package vm

import (
	"fmt"
	"testing"
)

// whileTheClockJumps are commands whose answers must not depend on what the clock says, on a host that is a cluster of its own.
var whileTheClockJumps = []command{
	{"shoal exec tick echo ok; shoal ps --format '{{.Names}} {{.Status}}' --filter name=tick", `^ok\ntick Up .*\(healthy\)$`},
	{"n=$(shoal exec tick cat /checks | wc -l); for i in $(seq 300); do [ $(shoal exec tick cat /checks | wc -l) -gt $((n+2)) ] && echo checked && break; sleep 0.1; done", `^checked$`},
	{"n=$(shoal inspect --format '{{.RestartCount}}' again); for i in $(seq 600); do [ $(shoal inspect --format '{{.RestartCount}}' again) -gt $n ] && echo restarted && break; sleep 0.1; done", `^restarted$`},
	{"begun=$(cut -d. -f1 /proc/uptime); shoal run -d --name deaf box sh -c 'trap \"\" TERM; echo deaf; while :; do sleep 0.1; done' >/dev/null; until shoal logs deaf | grep -q deaf; do :; done; " +
		"shoal stop -t 2 deaf; shoal rm deaf; [ $(($(cut -d. -f1 /proc/uptime) - begun)) -lt 60 ] && echo in time", `^deaf\ndeaf\nin time$`},
	{"shoal run --rm --stop-timeout 1 box echo fine; shoal logs --tail 1 tick", `^fine\ntick$`},
	{"shoal service scale web=2 >/dev/null && shoal service scale web=1 >/dev/null && shoal service ls --format '{{.Replicas}}'; shoal node ls --format '{{.Status}} {{.ManagerStatus}}'", `^1/1\nReady Leader$`},
}

// TestClock lets the clock jump, as it does on virtual machines that were suspended and where somebody sets it right.
func TestClock(t *testing.T) {
	needVM(t)
	t.Parallel()
	m := startHost(t, Config{Name: "clock", Number: 1, Switch: freePort(t)}, "true")
	output(t, m, "shoal cluster init --advertise-addr %s; shoal service create --name web --replicas 1 box sleep 100000", m.Addr())
	output(t, m, "shoal run -d --name tick --health-cmd 'echo x >>/checks' --health-interval 300ms box sh -c 'while :; do echo tick; sleep 0.2; done'; "+
		"shoal run -d --name again --restart always box sh -c 'sleep 0.2; exit 1'; until shoal ps | grep -q healthy; do sleep 0.1; done")
	for _, jump := range []string{"+ 864000", "- 864000 - 1800"} {
		output(t, m, "date -s @$(($(date +%%s) %s))", jump)
		t.Run(fmt.Sprint("clock ", jump), func(t *testing.T) { try(t, m, whileTheClockJumps) })
	}
}
