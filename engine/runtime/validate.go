//go:build linux

package runtime

import (
	"fmt"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// validate refuses what would otherwise be ignored.
func validate(s *specs.Spec) error {
	switch {
	case s.Process == nil || len(s.Process.Args) == 0:
		return fmt.Errorf("config.json: process.args is empty")
	case s.Root == nil || s.Root.Path == "":
		return fmt.Errorf("config.json: root.path is missing")
	case s.Linux == nil:
		return fmt.Errorf("config.json: the linux section is missing")
	case s.Linux.IntelRdt != nil, s.Linux.MemoryPolicy != nil, len(s.Linux.NetDevices) > 0:
		return fmt.Errorf("config.json: linux.intelRdt, linux.memoryPolicy and linux.netDevices are not supported")
	case s.Linux.MountLabel != "" && !hasSELinux():
		return fmt.Errorf("config.json: linux.mountLabel %q: SELinux is not enabled on this host", s.Linux.MountLabel)
	case s.Windows != nil || s.VM != nil || s.Solaris != nil || s.ZOS != nil || s.FreeBSD != nil:
		return fmt.Errorf("config.json: sections for other systems than Linux are not supported")
	}
	if err := validateHooks(s.Hooks); err != nil {
		return err
	}
	if err := validateNames(s); err != nil {
		return err
	}
	return validateProcess(s.Process)
}

// unconfined is the AppArmor profile that confines nothing, which is the case anyway where there is no AppArmor.
const unconfined = "unconfined"

func hasAppArmor() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

func hasSELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

func validateNames(s *specs.Spec) error {
	has := func(t specs.LinuxNamespaceType) bool {
		return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t })
	}
	switch {
	case (s.Hostname != "" || s.Domainname != "") && !has(specs.UTSNamespace):
		return fmt.Errorf("config.json: a hostname needs a uts namespace")
	case len(s.Linux.TimeOffsets) > 0 && !has(specs.TimeNamespace):
		return fmt.Errorf("config.json: time offsets need a time namespace")
	case has(specs.UserNamespace) && (len(s.Linux.UIDMappings) == 0 || len(s.Linux.GIDMappings) == 0) && !joins(s, specs.UserNamespace):
		return fmt.Errorf("config.json: a user namespace needs uid and gid mappings")
	case !has(specs.UserNamespace) && len(s.Linux.UIDMappings)+len(s.Linux.GIDMappings) > 0:
		return fmt.Errorf("config.json: uid and gid mappings need a user namespace")
	}
	for clock := range s.Linux.TimeOffsets {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("config.json: unknown clock %q in time offsets", clock)
		}
	}
	return nil
}

func joins(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t && n.Path != "" })
}

func validateProcess(p *specs.Process) error {
	switch {
	case p.ApparmorProfile != "" && p.ApparmorProfile != unconfined && !hasAppArmor():
		return fmt.Errorf("process.apparmorProfile %q: AppArmor is not enabled on this host", p.ApparmorProfile)
	case p.SelinuxLabel != "" && !hasSELinux():
		return fmt.Errorf("process.selinuxLabel %q: SELinux is not enabled on this host", p.SelinuxLabel)
	case p.SelinuxLabel != "" && p.ApparmorProfile != "":
		return fmt.Errorf("process: both an AppArmor profile and an SELinux label: no kernel has both")
	case p.Scheduler != nil, p.IOPriority != nil, p.ExecCPUAffinity != nil:
		return fmt.Errorf("process.scheduler, ioPriority and execCPUAffinity are not supported")
	case p.CommandLine != "" || p.User.Username != "":
		return fmt.Errorf("process.commandLine and user.username are for Windows")
	case p.Cwd != "" && p.Cwd[0] != '/':
		return fmt.Errorf("process.cwd %q is not an absolute path", p.Cwd)
	}
	for _, e := range p.Env {
		if !strings.Contains(e, "=") || strings.ContainsRune(e, 0) {
			return fmt.Errorf("process.env: %q is not NAME=VALUE", e)
		}
	}
	return nil
}
