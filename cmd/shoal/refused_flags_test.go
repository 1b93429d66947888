package main

import (
	"strings"
	"testing"
)

// What Docker has and Shoal has not is refused with the reason and what to do, in one line.
func TestRefusedFlags(t *testing.T) {
	f := newFake(t)
	for args, want := range map[string]string{
		"run --gpus all box":                    "--device nvidia.com/gpu=all",
		"create --kernel-memory 5m box":         "--memory counts it",
		"run --storage-opt size=1g box":         "project quotas",
		"run --isolation hyperv box":            "for Windows containers only",
		"run --cpu-count 2 box":                 "for Windows containers only",
		"run --io-maxiops=5 box":                "for Windows containers only",
		"run --disable-content-trust=false box": "NAME@sha256:",
		"run --use-api-socket box":              "no API socket",
		"run --cpu-rt-runtime lots box":         "invalid",
		"run --annotation nothing box":          "expected KEY=VALUE",
		"run --expose 80/icmp box":              "unknown protocol 'icmp'",
		"run --link a:b:c box":                  "expected CONTAINER[:ALIAS]",
		"run --link a --network host box":       "need a network",
		"rm --link web/db":                      "made with it",
		"ps --filter expose=many":               "not a port",
		"network connect --link a:b:c net web":  "expected CONTAINER[:ALIAS]",
	} {
		r := f.run(t, "", strings.Fields(args)...)
		if r.code == 0 || !strings.Contains(r.err, want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: %d, %q, want one line with %q", args, r.code, r.err, want)
		}
	}
	for _, args := range []string{"network create --attachable n", "create --restart= --tmpfs /t:size=10% box", "create --disable-content-trust --isolation default --platform linux box", "create -v /a:/b:cached --mount type=bind,src=/a,target=/c,consistency=delegated box"} {
		if r := f.run(t, "", strings.Fields(args)...); r.code != 0 {
			t.Errorf("what asks for nothing else than there is: %s: %+v", args, r)
		}
	}
	if r := f.run(t, "", "run", "--help"); strings.Contains(r.out, "--gpus") {
		t.Error("a flag that is refused is in the help text")
	}
}
