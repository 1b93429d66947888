//go:build linux

package engine

import (
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

func joinsContainer(mode string) bool { return strings.HasPrefix(mode, "container:") }

// checkNetwork settles a container's network mode and networks.
func (e *Engine) checkNetwork(req *api.CreateContainerRequest, row *api.Container) error {
	mode, err := e.networkMode(req)
	if err != nil {
		return err
	}
	if err := checkMode(mode, req); err != nil {
		return err
	}
	if err := e.cfg.Networks.Check(req.Networks, req.Ports); err != nil {
		return err
	}
	if err := e.settleLinks(req.Networks); err != nil {
		return err
	}
	if mode == "" {
		mode = req.Networks[0].Network
	}
	row.NetworkMode, row.Networks, row.Ports = mode, req.Networks, req.Ports
	return nil
}

// networkMode is the one of Network..., container:ID, or "" for networks of its own, which the request lists then, however they
// were given.
func (e *Engine) networkMode(req *api.CreateContainerRequest) (string, error) {
	mode := req.NetworkMode
	if mode == "default" {
		mode = NetworkBridge
	}
	switch {
	case mode == "" && len(req.Networks) == 0:
		mode = NetworkBridge
	case mode == "" && len(req.Networks) == 1 && (req.Networks[0].Network == NetworkHost || req.Networks[0].Network == NetworkNone):
		mode, req.Networks = req.Networks[0].Network, nil
	case mode == "", mode == NetworkBridge, mode == NetworkHost, mode == NetworkNone, mode == NetworkExternal:
	case joinsContainer(mode):
		other, err := e.find(strings.TrimPrefix(mode, "container:"))
		if err != nil {
			return "", err
		}
		mode = "container:" + other.id
	default: // the name of a network
		if len(req.Networks) > 0 {
			return "", errorf(ErrInvalid, "give networks either as network mode or as list, not both")
		}
		req.Networks, mode = []*api.LocalNetworkAttachment{{Network: mode}}, ""
	}
	if mode == NetworkBridge && len(req.Networks) == 0 {
		req.Networks = []*api.LocalNetworkAttachment{{Network: NetworkBridge}}
	}
	return mode, nil
}

// checkMode refuses what cannot be had together with a mode.
func checkMode(mode string, req *api.CreateContainerRequest) error {
	joins, dns := joinsContainer(mode), req.Spec.GetDns()
	alone := joins || mode == NetworkHost || mode == NetworkNone || mode == NetworkExternal
	resolves := len(req.Spec.GetHosts())+len(dns.GetNameservers())+len(dns.GetSearch())+len(dns.GetOptions()) > 0
	switch {
	case alone && len(req.Networks) > 0:
		return errorf(ErrInvalid, "--network %s cannot be combined with networks", mode)
	case joins && resolves:
		return errorf(ErrInvalid, "--network %s: names are looked up as in that container, its own servers and hosts cannot be given", mode)
	case joins && len(req.Spec.GetExposedPorts()) > 0:
		return errorf(ErrInvalid, "--network %s cannot expose ports: they are that container's", mode)
	case alone && mode != NetworkHost && (len(req.Ports) > 0 || req.PublishAll):
		return errorf(ErrInvalid, "--network %s cannot publish ports", mode)
	case mode == NetworkHost && len(req.Ports) > 0:
		return errorf(ErrInvalid, "--network host cannot publish ports: the container's ports are the host's already")
	}
	return nil
}
