package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	f := newFake(t)
	populate(f)
	for _, tc := range []struct{ line, want string }{
		{"service rm ", "agent web"},
		{"service rm web ", "agent"},
		{"service scale w", "web="},
		{"node inspect ", "self one two"},
		{"network rm m", "mine"},
		{"volume rm ", "data cache"},
		{"stop ", "web"},
		{"rm ", "web old"},
		{"run web", "web:1"},
		{"run --network ", "bridge host mine"},
		{"service create --network ", "host app"},
		{"run --restart on", "on-failure on-failure:"},
		{"run --ipc co", "container:"},
		{"kill -s SIGU", "SIGUSR1 SIGUSR2"},
		{"ps --filter e", "exited= expose="},
		{"inspect --type n", "network node"},
		{"cluster token ", "worker manager"},
		{"serv", "service\tManage services"},
		{"cluster ", "info init join leave token"},
	} {
		args := append([]string{"__complete"}, strings.Split(tc.line, " ")...)
		r := f.run(t, "", args...)
		got := strings.Split(strings.TrimSpace(r.out), "\n")
		got = got[:len(got)-1] // the directive
		if !strings.Contains(tc.want, "\t") {
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], "\t")
			}
		}
		sep := " "
		if strings.Contains(tc.want, "\t") {
			sep = "\n"
		}
		if s := strings.Join(got, sep); sortWords(s) != sortWords(tc.want) {
			t.Errorf("%q completes to %q, want %q", tc.line, s, tc.want)
		}
	}
}

func sortWords(s string) string {
	words := strings.Fields(s)
	for i := range words {
		for j := i; j > 0 && words[j] < words[j-1]; j-- {
			words[j], words[j-1] = words[j-1], words[j]
		}
	}
	return strings.Join(words, " ")
}

// TestCompletionScripts: what is printed is a script that its shell can read, if that shell is here.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := runCLI(strings.NewReader(""), "completion", shell)
		if r.code != 0 || !strings.Contains(r.out, "shoal") {
			t.Errorf("%s: %+v", shell, r.err)
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(r.out)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v: %s", shell, err, out)
			}
		}
	}
}

// TestCompletionWithoutDaemon: no daemon, no names, no error on the person's line.
func TestCompletionWithoutDaemon(t *testing.T) {
	t.Setenv("SHOAL_HOST", "unix:///nowhere.sock")
	r := runCLI(strings.NewReader(""), "__complete", "service", "rm", "")
	if r.code != 0 || strings.Contains(r.out, "cannot connect") {
		t.Errorf("%+v", r)
	}
}
