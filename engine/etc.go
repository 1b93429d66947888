//go:build linux

package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/proto/api"
)

// etcFiles are mounted over the image's own.
var etcFiles = []string{"hostname", "hosts", "resolv.conf"}

// prepareEtc writes /etc/hostname, /etc/hosts and /etc/resolv.conf of a container. One that joins another container's
// network uses that one's files.
func (e *Engine) prepareEtc(_ context.Context, c *container) error {
	c.etc.Lock()
	defer c.etc.Unlock()
	row := c.get()
	if joinsContainer(row.NetworkMode) {
		return nil
	}
	texts, err := e.etcTexts(row)
	if err != nil {
		return err
	}
	for _, name := range etcFiles {
		if err := writeEtc(c.dir, name, texts[name]); err != nil {
			return err
		}
	}
	return durable.Replace(filepath.Join(c.dir, etcSums), sums(texts), rowFilePerm)
}

// etcSums remembers what was written, so that a file that the container has changed since is told from one that is ours.
const etcSums = "etc.sums"

func sums(texts map[string]string) []byte {
	var b bytes.Buffer
	for _, name := range etcFiles {
		fmt.Fprintf(&b, "%x %s\n", sha256.Sum256([]byte(texts[name])), name)
	}
	return b.Bytes()
}

// writeEtc writes in place: a mount of the file follows its inode.
func writeEtc(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// maxEtc is more than we write into such a file. A container may write any amount.
const maxEtc = 1 << 20

var errEtcSize = errors.New("the container has made it its own")

func readEtc(dir, name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEtc+1))
	if err == nil && len(text) > maxEtc {
		err = errEtcSize
	}
	return text, err
}

// refreshEtc lets the files of a running container follow its networks and the host's resolvers, those that the container
// itself has left as they were. What it did before a crash it finds done.
func (e *Engine) refreshEtc(c *container) error {
	c.etc.Lock()
	defer c.etc.Unlock()
	texts, err := e.etcTexts(c.get())
	if err != nil {
		return err
	}
	dir := e.rowDir(c.id) // and not c.dir, which a removal changes: then there is nothing to refresh
	old, err := os.ReadFile(filepath.Join(dir, etcSums))
	if err != nil || bytes.Equal(old, sums(texts)) {
		return nil // made by a version that did not remember, or as it should be
	}
	for _, name := range etcFiles {
		have, err := readEtc(dir, name)
		if err != nil || string(have) == texts[name] || !bytes.Contains(old, fmt.Appendf(nil, "%x %s\n", sha256.Sum256(have), name)) {
			continue
		}
		if err := writeEtc(dir, name, texts[name]); err != nil {
			return err
		}
	}
	return durable.Replace(filepath.Join(dir, etcSums), sums(texts), rowFilePerm)
}

func (e *Engine) etcTexts(row *api.Container) (map[string]string, error) {
	hostname := row.Hostname
	if hostname == "" {
		hostname = e.cfg.Hostname
	}
	own, err := e.ownAddresses(row)
	if err != nil {
		return nil, err
	}
	hosts, err := hostsFile(row, e.linkHosts(row), hostname, own, e.cfg.Networks.HostAddress(row.Endpoints))
	if err != nil {
		return nil, err
	}
	resolv, err := e.resolvConf(row)
	return map[string]string{"hostname": hostname + "\n", "hosts": hosts, "resolv.conf": resolv}, err
}

// ownAddresses are those by which the container's own name resolves.
func (e *Engine) ownAddresses(row *api.Container) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, ep := range row.Endpoints {
		out = append(out, publicAddrs(ep)...)
	}
	if row.NetworkMode == NetworkExternal && row.Netns != "" {
		return network.FirstAddresses(row.Netns)
	}
	return out, nil
}

func hostsFile(row *api.Container, links, hostname string, own []netip.Addr, host netip.Addr) (string, error) {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
	for _, h := range row.Spec.GetHosts() {
		name, addr, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return "", errorf(ErrInvalid, "extra host %q is not NAME:ADDRESS", h)
		}
		if addr == "host-gateway" {
			if row.NetworkMode == NetworkHost {
				host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			if !host.IsValid() {
				return "", errorf(ErrInvalid, "extra host %q: this container does not reach the host: that needs a bridge network", h)
			}
			addr = host.String()
		}
		ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
		if err != nil {
			return "", errorf(ErrInvalid, "extra host %q: %w", h, err)
		}
		fmt.Fprintf(&b, "%s\t%s\n", ip, name)
	}
	b.WriteString(links)
	if domain := row.Spec.GetDomainname(); domain != "" {
		hostname += "." + domain
	}
	names := hostname
	if short, _, dotted := strings.Cut(hostname, "."); dotted {
		names += " " + short
	}
	for _, ip := range own {
		fmt.Fprintf(&b, "%s\t%s\n", ip, names)
	}
	if len(own) == 0 && row.NetworkMode == NetworkHost {
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", names)
	}
	return b.String(), nil
}

// Where a host keeps its resolvers; the second is the real list behind systemd's local one.
var hostResolvConf = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// resolvConf is the container's own configuration over the host's.
func (e *Engine) resolvConf(row *api.Container) (string, error) {
	host := hostResolver(row.NetworkMode != NetworkHost)
	dns := row.Spec.GetDns()
	for _, ns := range dns.GetNameservers() {
		if _, err := netip.ParseAddr(ns); err != nil {
			return "", errorf(ErrInvalid, "--dns %q: %w", ns, err)
		}
	}
	if len(dns.GetNameservers()) > 0 {
		host.nameservers = dns.Nameservers
	}
	if len(dns.GetSearch()) > 0 {
		host.search = dns.Search
		if len(dns.Search) == 1 && dns.Search[0] == "." {
			host.search = nil
		}
	}
	if len(dns.GetOptions()) > 0 {
		host.options = dns.Options
	}
	if asksOurs(row) {
		host.nameservers = []string{network.ResolverAddr.String()}
	}
	if hasNames(row) {
		host.namesFirst()
	}
	return host.String(), nil
}

// hostResolver is the host's configuration, for a namespace of its own without resolvers on the host's loopback.
func hostResolver(elsewhere bool) (host resolvConf) {
	for _, path := range hostResolvConf {
		r, err := readResolver(path)
		if err != nil {
			continue
		}
		if elsewhere {
			r.nameservers = slices.DeleteFunc(r.nameservers, isLoopback)
		}
		host = r
		if len(r.nameservers) > 0 {
			break
		}
	}
	return host
}

// namesFirst makes a name without a dot a container's before it is anything in a search domain.
func (r *resolvConf) namesFirst() {
	isNdots := func(o string) bool { return strings.HasPrefix(o, "ndots:") }
	if !slices.ContainsFunc(r.options, isNdots) {
		r.options = append(slices.Clone(r.options), "ndots:0")
	}
}

func isLoopback(s string) bool {
	a, err := netip.ParseAddr(s)
	return err != nil || a.IsLoopback()
}

// resolvConf is what /etc/resolv.conf says.
type resolvConf struct{ nameservers, search, options []string }

func (r resolvConf) String() string {
	var b strings.Builder
	for _, ns := range r.nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", ns)
	}
	if len(r.search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(r.search, " "))
	}
	if len(r.options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.options, " "))
	}
	return b.String()
}

func readResolver(path string) (resolvConf, error) {
	f, err := os.Open(path)
	if err != nil {
		return resolvConf{}, err
	}
	defer f.Close()
	var r resolvConf
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			r.nameservers = append(r.nameservers, fields[1])
		case "search", "domain":
			r.search = fields[1:]
		case "options":
			r.options = append(r.options, fields[1:]...)
		}
	}
	return r, nil
}
