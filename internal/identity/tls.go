package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ServerTLS is the configuration of a listener of the cluster port. Clients may come without a
// certificate (to ask for one); one that is shown must be of this cluster. An expired one passes the
// handshake, because its node must be able to renew it: use Peer, and Info.NotAfter, to decide.
func (i *Identity) ServerTLS(protos ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protos,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			m := i.material()
			return &m.cert, nil
		},
		// A resumed session would carry the certificate of before a renewal or a demotion.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return nil
			}
			_, err := i.verify(s.PeerCertificates, x509.ExtKeyUsageClientAuth, true)
			return err
		},
	}
}

// ClientTLS is the configuration for a connection to a manager of this cluster. With a node ID, only
// that node will do.
func (i *Identity) ClientTLS(nodeID string, protos ...string) *tls.Config {
	return i.clientTLS(nodeID, false, protos)
}

// RaftTLS is ClientTLS that accepts an expired certificate: a cluster that was off for longer than
// certificates live must still find a leader, who then renews them. The peer's membership is
// what its Raft connection is judged by.
func (i *Identity) RaftTLS(nodeID string, protos ...string) *tls.Config {
	return i.clientTLS(nodeID, true, protos)
}

func (i *Identity) clientTLS(nodeID string, expired bool, protos []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protos,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			m := i.material()
			return &m.cert, nil
		},
		// Names are node IDs, not host names, so the standard check is replaced by VerifyConnection.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			info, err := i.verify(s.PeerCertificates, x509.ExtKeyUsageServerAuth, expired)
			if err != nil {
				return err
			}
			if info.Role != Manager {
				return fmt.Errorf("node %s is not a manager", info.NodeID)
			}
			if nodeID != "" && info.NodeID != nodeID {
				return fmt.Errorf("node %s answers where node %s was expected", info.NodeID, nodeID)
			}
			return nil
		},
	}
}

// Peer says who is at the other end of a verified connection; ok is false if it showed no certificate.
func Peer(s tls.ConnectionState) (info Info, ok bool) {
	if len(s.PeerCertificates) == 0 {
		return Info{}, false
	}
	info, err := Parse(s.PeerCertificates[0])
	return info, err == nil
}

// verify checks a chain against the cluster's CA.
func (i *Identity) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, expired bool) (Info, error) {
	if len(chain) == 0 {
		return Info{}, errors.New("the other side showed no certificate")
	}
	m, leaf := i.material(), chain[0]
	o := x509.VerifyOptions{Roots: m.roots, KeyUsages: []x509.ExtKeyUsage{usage}}
	if now := time.Now(); expired && now.After(leaf.NotAfter) {
		o.CurrentTime = leaf.NotAfter
	}
	if _, err := leaf.Verify(o); err != nil {
		return Info{}, fmt.Errorf("certificate of %q is not valid in cluster %s: %w", leaf.Subject.CommonName, m.info.ClusterID, err)
	}
	info, err := Parse(leaf)
	if err != nil {
		return Info{}, err
	}
	if info.ClusterID != m.info.ClusterID {
		return Info{}, fmt.Errorf("node %s belongs to cluster %s, this is cluster %s", info.NodeID, info.ClusterID, m.info.ClusterID)
	}
	return info, nil
}

// PinnedTLS is the configuration for a first contact: the server must show a manager's certificate,
// signed by the CA certificate with this digest, which it sends along.
func PinnedTLS(digest [sha256.Size]byte, protos ...string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         protos,
		InsecureSkipVerify: true, // replaced by VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			return verifyPinned(s.PeerCertificates, digest)
		},
	}
}

func verifyPinned(chain []*x509.Certificate, digest [sha256.Size]byte) error {
	roots := x509.NewCertPool()
	found := false
	for _, c := range chain {
		if sha256.Sum256(c.Raw) == digest {
			roots.AddCert(c)
			found = true
		}
	}
	if !found {
		return errors.New("the join token is of another cluster than the manager that answers")
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return fmt.Errorf("the manager's certificate is not valid: %w", err)
	}
	info, err := Parse(chain[0])
	if err != nil {
		return err
	}
	if info.Role != Manager {
		return fmt.Errorf("node %s is not a manager", info.NodeID)
	}
	return nil
}
