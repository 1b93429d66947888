//go:build linux

// Package deploy holds no Go code but these tests: the installer is really run, and what it installs is checked.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binary is bin/shoal if make has built it, else one built now.
func binary(t *testing.T) string {
	t.Helper()
	built, err := filepath.Abs("../bin/shoal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(built); err == nil {
		return built
	}
	path := filepath.Join(t.TempDir(), "shoal")
	run(t, "go", "build", "-o", path, "../cmd/shoal")
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func files(t *testing.T, root string) string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			found = append(found, info.Mode().String()+" "+strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(found, "\n")
}

func TestInstallIntoADirectory(t *testing.T) {
	bin, root := binary(t), t.TempDir()
	run(t, "sh", "install.sh", "--binary", bin, "--root", root)
	run(t, "sh", "install.sh", "--binary", bin, "--root", root) // again is an upgrade
	want := strings.Join([]string{
		"-rw-r--r-- /etc/group",
		"-rw-r--r-- /etc/systemd/system/shoal.service",
		"-rwxr-xr-x /usr/local/bin/shoal",
		"-rw-r--r-- /usr/share/bash-completion/completions/shoal",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/shoal.fish",
		"-rw-r--r-- /usr/share/zsh/vendor-completions/_shoal",
	}, "\n")
	if got := files(t, root); got != want {
		t.Errorf("installed\n%s\nwant\n%s", got, want)
	}
	if b, _ := os.ReadFile(filepath.Join(root, "etc/group")); strings.Count(string(b), "shoal:") != 1 {
		t.Errorf("group file is %q, want one line for shoal", b)
	}
	run(t, "bash", "-n", filepath.Join(root, "usr/share/bash-completion/completions/shoal"))

	run(t, "sh", "install.sh", "--uninstall", "--root", root)
	if got := files(t, root); strings.Contains(got, "service") || strings.Contains(got, "shoal") {
		t.Errorf("after --uninstall there is still\n%s", got)
	}
}

func TestOtherPrefix(t *testing.T) {
	bin, root := binary(t), t.TempDir()
	run(t, "sh", "install.sh", "--binary", bin, "--root", root, "--prefix", "/opt/shoal")
	unit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/shoal.service"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "ExecStart=/opt/shoal/bin/shoal daemon\n") {
		t.Errorf("the unit starts something else:\n%s", unit)
	}
}

func TestRefusals(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("\x7fELF of another machine"), 0o755); err != nil {
		t.Fatal(err)
	}
	notOurs, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--frob"}, "unknown option --frob"},
		{[]string{"--binary"}, "--binary needs a file"},
		{[]string{"--binary", "/nowhere", "--root", t.TempDir()}, "/nowhere is not a file"},
		{[]string{"--binary", broken, "--root", t.TempDir()}, "does not run on this machine"},
		{[]string{"--binary", notOurs, "--root", t.TempDir()}, "is not a shoal"},
	} {
		out, err := exec.Command("sh", append([]string{"install.sh"}, c.args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("install.sh %v: %v, %q; want one line with %q", c.args, err, out, c.want)
		}
	}
}

// TestInstallOnAMachine runs the installer as a user would, on this machine's /etc and /usr with a layer above them
// that goes away with the mount namespace, and with a systemctl that writes down what it is asked.
func TestInstallOnAMachine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root, for a mount namespace")
	}
	script := `set -eu
mount -t tmpfs none "$TOP"
for d in etc usr; do
	mkdir -p "$TOP/$d/up" "$TOP/$d/work"
	mount -t overlay none -o "lowerdir=/$d,upperdir=$TOP/$d/up,workdir=$TOP/$d/work" "/$d"
done
mount -t tmpfs none /run
mkdir -p /run/systemd/system "$TOP/bin"
printf '#!/bin/sh\necho "$*" >>%s/calls\n' "$TOP" >"$TOP/bin/systemctl"
chmod +x "$TOP/bin/systemctl"
PATH=$TOP/bin:$PATH
sed -i /^shoal:/d /etc/group
sh install.sh --binary "$BIN"
sh install.sh --binary "$BIN"
getent group shoal >/dev/null
/usr/local/bin/shoal --version >/dev/null
cmp "$BIN" /usr/local/bin/shoal
echo "-- verify"
SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no /etc/systemd/system/shoal.service 2>&1 | grep shoal || true
echo "-- calls"
cat "$TOP/calls"
sh install.sh --uninstall >/dev/null
[ ! -e /usr/local/bin/shoal ] && [ ! -e /etc/systemd/system/shoal.service ]
`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "TOP="+t.TempDir(), "BIN="+binary(t), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said, rest, _ := strings.Cut(string(out), "-- verify\n")
	verify, calls, _ := strings.Cut(rest, "-- calls\n")
	if !strings.Contains(said, "shoal cluster init") {
		t.Errorf("the installer said %q, want what to do next", said)
	}
	if verify != "" {
		t.Errorf("systemd-analyze verify:\n%s", verify)
	}
	once := "daemon-reload\nenable shoal.service\nrestart shoal.service\n"
	if calls != once+once {
		t.Errorf("systemctl was called with\n%swant twice\n%s", calls, once)
	}
}

// TestUnitLeavesContainersAlone holds the lines of the unit that containers outlive the daemon by.
func TestUnitLeavesContainersAlone(t *testing.T) {
	unit, err := os.ReadFile("shoal.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Type=notify", "Restart=always", "KillMode=process", "Delegate=yes", "RuntimeDirectoryPreserve=yes", "TasksMax=infinity"} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("shoal.service lacks %s", line)
		}
	}
}
