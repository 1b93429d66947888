//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bootOptions are the words vm.KEY=VALUE of the kernel's command line.
func bootOptions() map[string]string {
	options := map[string]string{}
	text, _ := os.ReadFile("/proc/cmdline")
	for _, word := range strings.Fields(string(text)) {
		if key, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(key, "vm.") {
			options[key] = value
		}
	}
	return options
}

func network(options map[string]string) error {
	if err := unix.Sethostname([]byte(options["vm.name"])); err != nil {
		return err
	}
	if err := up("lo"); err != nil || options["vm.addr"] == "" {
		return err
	}
	for _, text := range strings.Split(options["vm.addr"], ",") {
		if err := address("eth0", text); err != nil {
			return err
		}
	}
	if err := up("eth0"); err != nil {
		return err
	}
	return defaultRoute("eth0")
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

func address(name, text string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	addr, err := netlink.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("address %q: %w", text, err)
	}
	addr.Flags |= unix.IFA_F_NODAD
	return netlink.AddrAdd(link, addr)
}

// defaultRoute leads nowhere, but a host without one is not a usual host.
func defaultRoute(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	v4, _ := netlink.ParseIPNet("0.0.0.0/0")
	v6, _ := netlink.ParseIPNet("::/0")
	index := link.Attrs().Index
	return errors.Join(netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: v4}), netlink.RouteAdd(&netlink.Route{LinkIndex: index, Dst: v6}))
}
