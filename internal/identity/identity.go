// Package identity is a node's proof of who it is: a certificate that names the node, its role and
// its cluster, the key to it, and the cluster's CA certificate.
//
// Identity holds the three and hands out TLS configurations that follow a renewal without a new
// connection setup in the code that uses them. Token is what a person carries to a new node.
// Signing is not here: manager/ca has the CA's key.
package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/internal/durable"
)

// Role is what a certificate allows, as its organizational unit.
type Role string

const (
	Manager Role = "shoal-manager"
	Worker  Role = "shoal-worker"
)

// Files in the directory of an Identity.
const (
	CertFile = "node.crt"
	KeyFile  = "node.key"
	CAFile   = "ca.crt"
)

// Info is what a certificate says.
type Info struct {
	NodeID    string
	ClusterID string
	Role      Role
	NotBefore time.Time
	NotAfter  time.Time
}

// Parse reads the names in a node's certificate. It does not verify it.
func Parse(cert *x509.Certificate) (Info, error) {
	s := cert.Subject
	if s.CommonName == "" || len(s.OrganizationalUnit) != 1 || len(s.Organization) != 1 {
		return Info{}, fmt.Errorf("certificate of %q is not a Shoal node's", s.String())
	}
	role := Role(s.OrganizationalUnit[0])
	if role != Manager && role != Worker {
		return Info{}, fmt.Errorf("certificate of node %s has the unknown role %q", s.CommonName, role)
	}
	return Info{NodeID: s.CommonName, ClusterID: s.Organization[0], Role: role, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}, nil
}

// Identity is the certificate of this node. It may be replaced at any time; all methods may be called
// from any goroutine.
type Identity struct {
	dir string

	mu      sync.RWMutex
	now     material
	changed chan struct{}
}

// material is everything that one renewal replaces.
type material struct {
	info    Info
	cert    tls.Certificate
	roots   *x509.CertPool
	caPEM   []byte
	renewAt time.Time
}

// Load reads the files of a node that has joined before; the error is os.ErrNotExist if it has not.
func Load(dir string) (*Identity, error) {
	var pems [3][]byte
	for i, name := range []string{CertFile, KeyFile, CAFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("load node certificate: %w", err)
		}
		pems[i] = b
	}
	// A crash between the two renames of a renewal can leave the key of the new certificate behind.
	m, err := parse(pems[0], pems[1], pems[2])
	if err != nil {
		next, nextErr := os.ReadFile(filepath.Join(dir, KeyFile+".next"))
		if nextErr != nil {
			return nil, fmt.Errorf("load node certificate from %s: %w", dir, err)
		}
		if m, nextErr = parse(pems[0], next, pems[2]); nextErr != nil {
			return nil, fmt.Errorf("load node certificate from %s: %w", dir, err)
		}
	}
	return &Identity{dir: dir, now: m, changed: make(chan struct{})}, nil
}

// New checks the three PEM blocks and stores them in dir, which is created with mode 0700.
func New(dir string, certPEM, keyPEM, caPEM []byte) (*Identity, error) {
	i := &Identity{dir: dir, changed: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create certificate directory: %w", err)
	}
	if err := i.Replace(certPEM, keyPEM, caPEM); err != nil {
		return nil, err
	}
	return i, nil
}

// Replace puts a new certificate into use and on disk. Open connections keep the old one.
func (i *Identity) Replace(certPEM, keyPEM, caPEM []byte) error {
	m, err := parse(certPEM, keyPEM, caPEM)
	if err != nil {
		return fmt.Errorf("replace node certificate: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if old := i.now.info; old.NodeID != "" && (old.NodeID != m.info.NodeID || old.ClusterID != m.info.ClusterID) {
		return fmt.Errorf("replace node certificate: it is for node %s of cluster %s, this is node %s of cluster %s",
			m.info.NodeID, m.info.ClusterID, old.NodeID, old.ClusterID)
	}
	// The new key waits beside the old one until its certificate is in place: see Load.
	for _, f := range []struct {
		name string
		data []byte
	}{{CAFile, caPEM}, {KeyFile + ".next", keyPEM}, {CertFile, certPEM}, {KeyFile, keyPEM}} {
		if err := durable.Write(filepath.Join(i.dir, f.name), f.data, 0o600); err != nil {
			return fmt.Errorf("store node certificate: %w", err)
		}
	}
	_ = os.Remove(filepath.Join(i.dir, KeyFile+".next")) // harmless if it stays
	i.now = m
	close(i.changed)
	i.changed = make(chan struct{})
	return nil
}

// Changed is closed at the next Replace.
func (i *Identity) Changed() <-chan struct{} {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.changed
}

// Info is what the present certificate says.
func (i *Identity) Info() Info { return i.material().info }

// NodeID never changes.
func (i *Identity) NodeID() string { return i.Info().NodeID }

// ClusterID never changes.
func (i *Identity) ClusterID() string { return i.Info().ClusterID }

// Role changes when a node is promoted or demoted and has renewed its certificate.
func (i *Identity) Role() Role { return i.Info().Role }

// CACert is the cluster's CA certificate in PEM form.
func (i *Identity) CACert() []byte { return i.material().caPEM }

// RenewAt is when the certificate should be replaced: at a random point between 50 and 80 percent of
// its life, so that nodes that joined together do not renew together.
func (i *Identity) RenewAt() time.Time { return i.material().renewAt }

func (i *Identity) material() material {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.now
}

func parse(certPEM, keyPEM, caPEM []byte) (material, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return material{}, err
	}
	ca, err := ParseCert(caPEM)
	if err != nil {
		return material{}, fmt.Errorf("CA certificate: %w", err)
	}
	info, err := Parse(pair.Leaf)
	if err != nil {
		return material{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	// A node that joins knows only the digest of the CA's certificate: the server sends the rest.
	pair.Certificate = append(pair.Certificate[:1:1], ca.Raw)
	life := info.NotAfter.Sub(info.NotBefore)
	part := 0.5 + 0.3*rand.Float64()
	return material{
		info:    info,
		cert:    pair,
		roots:   roots,
		caPEM:   bytes.Clone(caPEM),
		renewAt: info.NotBefore.Add(time.Duration(part * float64(life))),
	}, nil
}

// ParseCert reads one certificate in PEM form.
func ParseCert(p []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(p)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("no PEM certificate found")
	}
	return x509.ParseCertificate(block.Bytes)
}

// ParseKey reads an ECDSA key in the PEM form of NewKey.
func ParseKey(p []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(p)
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return nil, errors.New("no PEM EC private key found")
	}
	return x509.ParseECPrivateKey(block.Bytes)
}
