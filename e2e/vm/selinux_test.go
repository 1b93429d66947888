//go:build linux

package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// selinuxByHand are commands on a host with testdata/selinux.conf's policy, and what they must say.
var selinuxByHand = []command{
	// Labels: of the process, of a command that joins it, of what is mounted.
	{"shoal run -d --name one box sleep 1000; shoal exec one cat /proc/1/attr/current /proc/self/attr/current", `(system_u:system_r:container_t:s0:c\d+,c\d+\x00){2}$`},
	{"[ $(shoal inspect --format '{{.ProcessLabel}}' one) = $(tr -d '\\0' </proc/$(shoal inspect --format '{{.State.Pid}}' one)/attr/current) ] && echo as inspect says", `^as inspect says$`},
	{"shoal inspect --format '{{.MountLabel}}' one", `^system_u:object_r:container_file_t:s0:c\d+,c\d+$`},
	{"shoal exec one sh -c 'grep -c context=.system_u:object_r:container_file_t:s0:c /proc/mounts; grep -E \"^(overlay|tmpfs|devpts|shm) \" /proc/mounts | grep -vc context='; true", `^\d+\n0$`},
	{"shoal run -d --name two box sleep 1000 >/dev/null; [ $(shoal inspect --format '{{.ProcessLabel}}' one) != $(shoal inspect --format '{{.ProcessLabel}}' two) ] && echo two of their own", `^two of their own$`},
	// Its own files it may use, as its user may; the host's not, whatever its user.
	{"shoal exec one sh -c 'echo mine >/f && cat /f && echo x >/dev/shm/f && cat /etc/hostname /dev/shm/f'", `^mine\n[0-9a-f]{12}\nx$`},
	{"mkdir -p /var/secret && echo secret >/var/secret/f; shoal run --rm -v /var/secret:/s box cat /s/f; echo $?", `(?i)permission denied\n1$`},
	{"shoal run --rm --privileged -v /var/secret:/s box cat /s/f /proc/self/attr/current", `^secret\nsystem_u:system_r:host_t:`},
	{"shoal run --rm --security-opt label=disable -v /var/secret:/s box cat /s/f", `^secret$`},
	// Z is for one container, z for all; a volume is shared.
	{"mkdir -p /var/own/a/b && echo own >/var/own/a/b/f && ln -s /var/secret/f /var/own/link; shoal run -d --name owner -v /var/own:/o:Z box sleep 1000 >/dev/null; shoal exec owner cat /o/a/b/f", `^own$`},
	{"shoal run --rm -v /var/own:/o box cat /o/a/b/f; echo $?; shoal exec owner cat /o/a/b/f", `(?i)permission denied\n1\nown$`},
	{"shoal inspect --format '{{(index .Mounts 0).Mode}} {{.HostConfig.SecurityOpt}}' owner; /usr/sbin/stat -c %C /var/secret/f", `^Z .*\nsystem_u:object_r:host_t:s0$`},
	{"mkdir -p /var/all && echo all >/var/all/f; for i in 1 2; do shoal run --rm -v /var/all:/o:z box cat /o/f; done; /usr/sbin/stat -c %C /var/all/f", `^all\nall\nsystem_u:object_r:container_file_t:s0$`},
	{"shoal run --rm -v data:/d box sh -c 'echo vol >/d/f'; shoal run --rm -v data:/d box cat /d/f", `^vol$`},
	{"for i in 1 2; do shoal run --rm -v conf:/etc box head -n 1 /etc/passwd; done; /usr/sbin/stat -c %C /var/lib/shoal/volumes/conf/_data/passwd", `^(root:.*\n){2}system_u:object_r:container_file_t:s0$`}, // filled from the image
	{"/usr/sbin/stat -c %C $(find /var/lib/shoal/snapshots -path */fs/bin/busybox | head -n 1)", `^system_u:object_r:container_ro_file_t:s0$`},
	{"shoal run --rm -v /etc:/e:Z box true; echo $?", `relabeling of /etc is not allowed\n125$`},
	// Options as Docker has them; what the policy does not know is refused.
	{"shoal run --rm --security-opt label=type:other_container_t --security-opt label=level:s0:c7,c9 box cat /proc/self/attr/current", `^system_u:system_r:other_container_t:s0:c7,c9\x00$`},
	{"shoal run -d --name typed --security-opt label=type:other_container_t --security-opt label=filetype:other_file_t box sleep 1000 >/dev/null; shoal exec typed cat /proc/self/attr/current; shoal inspect --format '{{.MountLabel}}' typed", `other_container_t.*other_file_t`},
	{"shoal run --rm --security-opt label=type:no_such_t box true; echo $?", `no_such_t.*does not know it\n125$`},
	{"shoal run --rm --security-opt label=colour:red box true; echo $?", `colour:red.*disable\n125$`},
	{"[ $(shoal run --rm --pid container:one box cat /proc/self/attr/current | tr -d '\\0') = $(shoal inspect --format '{{.ProcessLabel}}' one) ] && echo the same", `^the same$`},
	{"shoal run -d --cap-add SYS_PTRACE --name tracer box sleep 1000 >/dev/null; [ $(shoal exec tracer cat /proc/self/attr/current | tr -d '\\0') = $(shoal inspect --format '{{.ProcessLabel}}' tracer) ] && echo across a fork", `^across a fork$`},
	// Another runtime is told the same.
	{"shoal run --rm --runtime runc box cat /proc/self/attr/current", `container_t:s0:c\d+,c\d+`},
	// Users of its own, an image's own /proc, and the daemon's death make no difference.
	{"shoal run --rm --userns auto box sh -c 'cat /proc/self/attr/current; echo mine >/f && cat /f; cat /etc/hostname'", `container_t:s0:c\d+,c\d+\x00mine\n`},
	{"mkdir -p /var/proc/self/attr && : >/var/proc/self/attr/exec; shoal run --rm -v /var/proc:/proc:z box true; echo $?; cat /var/proc/self/attr/exec", `nothing but proc can be mounted there\n125$`},
	{"shoal info --format '{{.SecurityOptions}}'", `selinux`},
}

// TestSELinux runs containers under a policy of our own, on a kernel that enforces it.
func TestSELinux(t *testing.T) {
	needVM(t)
	t.Parallel()
	k, root := newSystem(t)
	root.program("bin/shoal", bin+"/shoal")
	root.copy("box.tar", boxImage(t), 0o644)
	root.copy("policy", policy(t), 0o644)
	root.text("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=tests\n")
	root.text("etc/selinux/tests/contexts/lxc_contexts", "process = \"system_u:system_r:container_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n"+
		"ro_file = \"system_u:object_r:container_ro_file_t:s0\"\n")
	if err := addProgram(root, "stat"); err != nil { // Debian's knows labels, busybox's does not
		t.Fatal(err)
	}
	m := start(t, Config{Name: "selinux", Kernel: k.image(), Root: pack(t, root), Memory: 768, CPUs: 2, Boot: "security=selinux selinux=1"})
	began := time.Now()
	output(t, m, "mount -t selinuxfs selinuxfs /sys/fs/selinux && dd if=/policy of=/sys/fs/selinux/load bs=4M 2>/dev/null && echo 1 >/sys/fs/selinux/enforce")
	daemon := strings.Replace(startDaemon, "shoal daemon", "shoal daemon --selinux-enabled", 1)
	output(t, m, "%s", daemon)
	output(t, m, "shoal image import --change 'ENV PATH=/bin' - box </box.tar")
	try(t, m, selinuxByHand)
	output(t, m, "kill -9 $(cat /run/daemon.pid); sleep 0.2")
	output(t, m, "%s", daemon)
	if out := output(t, m, "shoal exec one cat /proc/self/attr/current; shoal inspect --format '{{.ProcessLabel}}' one"); !regexp.MustCompile(`^(\S+)\x00(\S+)\n$`).MatchString(out) || strings.Count(out, out[:strings.IndexByte(out, 0)]) != 2 {
		t.Errorf("after the daemon's death: %q", out)
	}
	t.Logf("%d commands in %s", len(selinuxByHand), time.Since(began).Round(time.Second))
	if t.Failed() {
		t.Log(output(t, m, "dmesg | grep -E 'avc|AVC' | tail -40; true"))
	}
}

// policy compiles testdata/selinux.conf. Its long lists are made here.
func policy(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/selinux.conf")
	if err != nil {
		t.Fatal(err)
	}
	var categories, sids strings.Builder
	for i := range 1024 {
		fmt.Fprintf(&categories, "category c%d;\n", i)
	}
	_, list, _ := strings.Cut(string(text), "\nsid ")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, sid := range strings.Fields(strings.ReplaceAll(list, "sid ", " ")) {
		context := "object_r:host_t:s0"
		switch sid {
		case "kernel", "init":
			context = "system_r:host_t:s0 - s0:c0.c1023"
		case "devnull":
			context = "object_r:null_t:s0"
		}
		fmt.Fprintf(&sids, "sid %s system_u:%s\n", sid, context)
	}
	dir := t.TempDir()
	source, compiled := filepath.Join(dir, "policy.conf"), filepath.Join(dir, "policy")
	full := strings.NewReplacer("@CATEGORIES@", categories.String(), "@SIDS@", sids.String()).Replace(string(text))
	if err := os.WriteFile(source, []byte(full), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("checkpolicy", "-M", "-U", "allow", "-c", "33", "-o", compiled, source).CombinedOutput(); err != nil {
		t.Fatalf("checkpolicy: %v: %s", err, out)
	}
	return compiled
}
