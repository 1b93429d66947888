// Package network joins the containers of one node to local networks: bridges of this host.
//
// A Manager keeps networks (one file each) and makes the kernel a function of them and of the
// attachments that the engine hands over from its containers' rows: bridges exist while somebody is
// attached, veth pairs and one nftables table (inet shoal_local) follow from the whole, and Reconcile
// compares and repairs. Addresses and ports are free exactly if no row has them; the Manager holds
// no counters. It knows nothing of overlay networks, and of DNS only how packets get to a server.
package network
