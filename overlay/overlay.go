// Package overlay joins the containers of many nodes into networks.
//
// It is declarative: Set hands over everything this node should know, Run makes the kernel
// equal to it and keeps it so, Check says where they differ. Data paths (VXLAN), virtual
// IPs, ingress and DNS are functions of the same Desired value. It knows nothing of the
// store, of gossip's wire or of containers: an attachment is a network namespace and addresses.
package overlay

import (
	"net/netip"
)

// Network is one overlay network that this node takes part in.
type Network struct {
	ID       string
	Name     string
	VNI      uint32
	Subnets  []Subnet // at most one per family
	Internal bool
}

// Subnet is a prefix and the address in it that belongs to every node's own side (gateway and DNS server).
type Subnet struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// Endpoint is one task's place on one network, on whichever node.
type Endpoint struct {
	NetworkID string // "" for the gateway addresses that ingress balances to
	TaskID    string
	ServiceID string
	NodeID    string
	Addrs     []netip.Addr
	Name      string // container name, resolvable
	Aliases   []string
	Ready     bool // running, healthy and wanted: balanced to and in tasks.NAME
	// Ports of the service that this task serves at another target, since it is of another version of it.
	Ports []Port
}

// Service is a name with virtual IPs and published ports.
type Service struct {
	ID      string
	Name    string
	VIPs    map[string][]netip.Addr // by network ID
	Ports   []Port
	Aliases map[string][]string // by network ID
	DNSRR   bool
}

// Port is one published through ingress on every node.
type Port struct {
	Protocol  string // tcp, udp, sctp
	Target    uint16
	Published uint16
}

// Peer is a node of the cluster, this one included.
type Peer struct {
	NodeID   string
	Hostname string
	VTEP     netip.Addr     // data path address on the underlay
	Addrs    []netip.Addr   // its other addresses, as far as known; see docs/overlay.md on ingress from nodes
	Gateways []netip.Prefix // its slice of the node pool, at most one per family; the first address is the node's own
	Number   uint32         // small, unique: conntrack mark of ingress
	Down     bool
}

// Attachment is one local container: wired by Attach, kept by Run, gone with Detach.
type Attachment struct {
	ID       string // container ID
	TaskID   string
	NetNS    string // path of the bind-mounted network namespace
	Networks []AttachedNetwork
	// Gateway are the task's addresses on this node's gateway bridge (second interface, default route); none for
	// containers that have only internal networks.
	Gateway []netip.Prefix
	// HostPorts are published on this node only (PublishMode HOST). They need Gateway.
	HostPorts []HostPort
	// Resolvers are asked for names outside, from inside the container, instead of the host's. They are for package dns.
	Resolvers []netip.Addr
}

// HostPort is a port of this node's own addresses that leads to one container.
type HostPort struct {
	Protocol string // tcp, udp, sctp
	Host     uint16
	Target   uint16
}

// AttachedNetwork is one interface of an attachment: eth0, eth1, ... in order; the gateway interface comes last.
type AttachedNetwork struct {
	NetworkID string
	Addrs     []netip.Addr
}

// Desired is everything. Set replaces it as a whole.
type Desired struct {
	NodeID    string
	Networks  []Network
	Endpoints []Endpoint
	Services  []Service
	Peers     []Peer
}
