//go:build linux

package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/internal/names"
	"github.com/shoal-dev/shoal/proto/api"
)

// A link gives one container a name for another that nobody else knows. On a network with names it is an alias that is looked
// up when it is asked for. The default bridge has no names: there it is a line of /etc/hosts, and variables, of a container
// that must run before.

// link is one of them: NAME:ALIAS in a request, in a row on the default bridge ID:ALIAS.
type link struct{ target, alias string }

func parseLink(text string) (link, error) {
	target, alias, ok := strings.Cut(text, ":")
	target = strings.TrimPrefix(target, "/")
	if !ok || alias == "" {
		alias = target
	}
	if !names.Object(target) || !names.Object(alias) {
		return link{}, errorf(ErrInvalid, "link %q is not NAME or NAME:ALIAS of letters, digits, '_', '.' and '-'", text)
	}
	return link{target, alias}, nil
}

func (l link) String() string { return l.target + ":" + l.alias }

// links are those of an attachment; what is none was refused before.
func links(w *api.LocalNetworkAttachment) []link {
	var out []link
	for _, text := range w.GetLinks() {
		if l, err := parseLink(text); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// settleLinks checks a request's links and writes them as rows have them.
func (e *Engine) settleLinks(networks []*api.LocalNetworkAttachment) error {
	for _, w := range networks {
		n, err := e.cfg.Networks.Get(w.Network)
		if err != nil {
			return err
		}
		for i, text := range w.Links {
			if w.Links[i], err = e.settleLink(n, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleLink names a container on the default bridge by its ID, as nothing else will find it there.
func (e *Engine) settleLink(n *api.LocalNetwork, text string) (string, error) {
	l, err := parseLink(text)
	if err != nil {
		return "", err
	}
	if n.Name == NetworkBridge {
		other, err := e.find(l.target)
		if err != nil {
			return "", fmt.Errorf("link to %s: %w", l.target, err)
		}
		l.target = other.id
	}
	return l.String(), nil
}

// legacyLinks are those on the default bridge.
func (e *Engine) legacyLinks(row *api.Container) []link {
	for _, w := range row.Networks {
		if len(w.Links) == 0 { // nearly everybody
			continue
		}
		if n, err := e.cfg.Networks.Get(w.Network); err == nil && n.Name == NetworkBridge {
			return links(w)
		}
	}
	return nil
}

// linked is a container that another links to on the default bridge, with its addresses there.
type linked struct {
	link
	container *container
	row       *api.Container
	addrs     []netip.Addr
}

// linkedTo says what a row's link means now. A container that does not run has no address.
func (e *Engine) linkedTo(l link) (linked, error) {
	c, err := e.find(l.target)
	if err != nil {
		return linked{}, errorf(ErrPrecondition, "cannot link to container %.12s as %s, which is gone: make this one anew", l.target, l.alias)
	}
	to := linked{link: l, container: c, row: c.get()}
	if !active(to.row.State) {
		return to, errorf(ErrPrecondition, "cannot link to container %s as %s: it is not running, start it first", to.row.Name, l.alias)
	}
	for _, ep := range to.row.Endpoints {
		if !network.HasNames(ep) {
			to.addrs = publicAddrs(ep)
		}
	}
	if len(to.addrs) == 0 {
		return to, errorf(ErrPrecondition, "cannot link to container %s as %s: it is not on the default bridge; on a network of its own, put both there", to.row.Name, l.alias)
	}
	return to, nil
}

// checkLinks refuses to start a container whose links lead nowhere.
func (e *Engine) checkLinks(row *api.Container) error {
	for _, l := range e.legacyLinks(row) {
		if _, err := e.linkedTo(l); err != nil {
			return err
		}
	}
	return nil
}

// linkHosts are the lines of /etc/hosts for links, of those that run.
func (e *Engine) linkHosts(row *api.Container) string {
	var b strings.Builder
	for _, l := range e.legacyLinks(row) {
		to, err := e.linkedTo(l)
		if err != nil {
			continue
		}
		known := []string{l.alias}
		for _, name := range []string{to.row.Hostname, to.row.Name} {
			if names.Object(name) && !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
		for _, addr := range to.addrs {
			fmt.Fprintf(&b, "%s\t%s\n", addr, strings.Join(known, " "))
		}
	}
	return b.String()
}

// refreshLinks lets the files of those that link to a container follow what has become of it.
func (e *Engine) refreshLinks(id string) {
	for _, c := range e.all() {
		row := c.get()
		to := func(l link) bool { return l.target == id }
		if !active(row.State) || !slices.ContainsFunc(e.legacyLinks(row), to) {
			continue
		}
		if err := e.refreshEtc(c); err != nil {
			e.log.Error("links were not written", "container", c.id, "error", err)
		}
	}
}

// aliasOnly is the container that a name means by a link of the asker on a network, "" if it is no link.
func (e *Engine) aliasOnly(row *api.Container, ep *api.NetworkEndpoint, name string) string {
	name = strings.TrimSuffix(name, "."+strings.ToLower(ep.Network))
	for _, w := range row.Networks {
		if len(w.Links) == 0 {
			continue
		}
		if n, err := e.cfg.Networks.Get(w.Network); err != nil || n.Id != ep.NetworkId {
			continue
		}
		for _, l := range links(w) {
			if strings.EqualFold(l.alias, name) {
				return l.target
			}
		}
	}
	return ""
}
