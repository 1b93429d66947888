package main

import (
	"errors"
	"slices"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestOlderNames: scripts that were written for older Dockers go on working.
func TestOlderNames(t *testing.T) {
	f := newFake(t)
	if r := f.run(t, "", "create", "--net", "none", "--dns-opt=ndots:2", "web"); r.code != 0 || f.containers.created.NetworkMode != "none" ||
		!slices.Equal(f.containers.created.Spec.Dns.Options, []string{"ndots:2"}) {
		t.Errorf("create --net none --dns-opt: %+v, %v", r, f.containers.created)
	}
	if r := f.run(t, "", "stop", "--time", "7", "web"); r.code != 0 || r.out != "web\n" {
		t.Errorf("stop --time: %+v", r)
	}
	if r := f.run(t, "", "volume", "create", "--name", "data"); r.code != 0 || r.out != "data\n" {
		t.Errorf("volume create --name: %+v", r)
	}
	if r := f.run(t, "", "volume", "create", "--name", "data", "other"); r.code != 1 {
		t.Errorf("volume create with two names: %+v", r)
	}
}

func TestHelpCommand(t *testing.T) {
	want := runCLI(nil, "run", "--help")
	if got := runCLI(nil, "help", "run"); got != want || got.code != 0 {
		t.Errorf("help run is not run --help: %+v", got)
	}
	want = runCLI(nil, "container", "ls", "--help")
	if got := runCLI(nil, "help", "container", "ls"); got != want {
		t.Errorf("help container ls is not container ls --help: %+v", got)
	}
	if got := runCLI(nil, "help", "nothing"); got.code != 1 {
		t.Errorf("help of nothing: %+v", got)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestFullDisk: what could not be printed is an error, whichever verb printed it.
func TestFullDisk(t *testing.T) {
	f := newFake(t)
	f.containers.containers = []*api.Container{{Id: "1", Name: "web"}}
	t.Setenv("SHOAL_HOST", f.host)
	for _, args := range [][]string{{"version"}, {"ps"}, {"ps", "-aq"}, {"--version"}, {"run", "--help"}} {
		var errs lockedBuffer
		if code := run(args, nil, fullDisk{}, &errs); code != 1 || errs.String() != "shoal: no space left on device\n" {
			t.Errorf("%v: code %d, %s", args, code, errs.String())
		}
	}
}
