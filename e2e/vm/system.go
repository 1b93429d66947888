//go:build linux

package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kernel is what deploy/deps-vm.sh has unpacked.
type kernel struct{ dir string }

func (k kernel) image() string { return filepath.Join(k.dir, "vmlinux") }

// packed are modules and directories of modules that containers and networks may ask for. The kernel loads them when it
// needs them, through modprobe.
var packed = []string{
	"kernel/fs/overlayfs/", "kernel/net/netfilter/", "kernel/net/ipv4/", "kernel/net/ipv6/", "kernel/net/bridge/", "kernel/net/sched/",
	"kernel/drivers/net/veth.ko", "kernel/drivers/net/vxlan/", "kernel/drivers/net/macvlan.ko", "kernel/drivers/net/ipvlan/",
	"kernel/drivers/net/tun.ko", "kernel/drivers/net/dummy.ko", "kernel/drivers/net/ifb.ko", "kernel/drivers/net/wireguard/",
	"kernel/net/8021q/", "kernel/net/802/", "kernel/block/bfq.ko", "kernel/drivers/block/null_blk/",
	"kernel/fs/nfs/", "kernel/fs/nfsd/",
}

// drivers are loaded at boot: nothing asks for a device that is not there yet.
var drivers = []string{"kernel/drivers/virtio/virtio_pci.ko", "kernel/drivers/net/virtio_net.ko", "kernel/drivers/block/virtio_blk.ko",
	"kernel/drivers/block/loop.ko"}

// system is a root file system with everything but what is to be tested.
func system(k kernel, init string) (tree, error) {
	t := tree{}
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "var", "mnt", "root"} {
		t.dir(dir)
	}
	t.program("init", init)
	t.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
	t.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
	t.text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
	t.text("etc/resolv.conf", "nameserver 127.0.0.1\n")
	if err := addBusybox(t); err != nil {
		return nil, err
	}
	for _, name := range []string{"nft", "ip", "bridge", "runc", "docker-registry", "dash", "ps"} {
		if err := addProgram(t, name); err != nil {
			return nil, err
		}
	}
	t.link("bin/sh", "/usr/sbin/dash") // busybox's prefers its own ip to the one above
	return t, k.addModules(t)
}

// addBusybox makes its commands links to it.
func addBusybox(t tree) error {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w: deploy/deps-vm.sh installs it", err)
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		return fmt.Errorf("list commands of busybox: %w", err)
	}
	for _, name := range strings.Fields(string(list)) {
		t.link("bin/"+name, "busybox")
	}
	t.program("bin/busybox", path)          // it lists itself as well
	t.link("sbin/modprobe", "/bin/busybox") // where the kernel looks for it
	return nil
}

// addProgram takes one of this machine's, with the libraries it is linked to.
func addProgram(t tree, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%w: deploy/deps-vm.sh installs it", err)
	}
	libraries, err := exec.Command("ldd", path).Output()
	if err != nil {
		return fmt.Errorf("find libraries of %s: %w", name, err)
	}
	t.program("usr/sbin/"+name, path)
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			t.program(word[1:], word)
		}
	}
	return nil
}

func (k kernel) addModules(t tree) error {
	found, err := filepath.Glob(filepath.Join(k.dir, "lib/modules/*"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s has %d kernels' modules, want one: run deploy/deps-vm.sh", k.dir, len(found))
	}
	release := filepath.Base(found[0])
	text, err := os.ReadFile(filepath.Join(found[0], "modules.dep"))
	if err != nil {
		return err
	}
	deps := dependencies(string(text))
	add := func(module string) string {
		name := "lib/modules/" + release + "/" + module
		t.copy(name, filepath.Join(found[0], module), 0o644)
		return "/" + name
	}
	for module := range deps {
		if wanted(module) {
			for _, m := range withDependencies(deps, module) {
				add(m)
			}
		}
	}
	var boot bytes.Buffer
	for _, module := range drivers {
		for _, m := range withDependencies(deps, module) {
			fmt.Fprintln(&boot, add(m))
		}
	}
	t.text("etc/modules", boot.String())
	for _, name := range []string{"modules.dep", "modules.alias", "modules.symbols", "modules.softdep", "modules.builtin"} {
		add(name)
	}
	return nil
}

func wanted(module string) bool {
	for _, p := range packed {
		if module == p || strings.HasSuffix(p, "/") && strings.HasPrefix(module, p) {
			return true
		}
	}
	return false
}

// dependencies reads modules.dep, which has lines "MODULE: NEEDS ..."; what is needed first stands last.
func dependencies(text string) map[string][]string {
	deps := map[string][]string{}
	for line := range strings.Lines(text) {
		module, needs, _ := strings.Cut(line, ":")
		deps[module] = strings.Fields(needs)
	}
	return deps
}

// withDependencies is the order in which to load.
func withDependencies(deps map[string][]string, module string) []string {
	var order []string
	for i := len(deps[module]) - 1; i >= 0; i-- {
		order = append(order, deps[module][i])
	}
	return append(order, module)
}
