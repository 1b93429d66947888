// Package ca is the cluster's certificate authority: it makes the CA at init, checks join tokens, and signs
// the certificates by which nodes know each other.
//
// Server answers the CA service on the leader. Renewer is the node's side: it keeps a certificate fresh and
// fetches a new one when the node's role has changed. Who may ask for what is decided from node rows alone.
// The CA's key lives in the store, which is encrypted on disk, and nowhere else.
package ca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/shoal-dev/shoal/internal/identity"
)

const (
	rootLife = 20 * 365 * 24 * time.Hour
	// DefaultLife is how long a node's certificate is valid, if the cluster's spec says nothing.
	DefaultLife = 90 * 24 * time.Hour
	// backdate forgives clocks that are behind the CA's.
	backdate = time.Hour
)

// NewRoot makes the CA of a cluster: its certificate and key in PEM form.
func NewRoot(clusterID string) (certPEM, keyPEM []byte, err error) {
	keyPEM, err = identity.NewKey()
	if err != nil {
		return nil, nil, err
	}
	key, err := identity.ParseKey(keyPEM)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "shoal-ca", Organization: []string{clusterID}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("make CA certificate: %w", err)
	}
	return encode(der), keyPEM, nil
}

// Root signs.
type Root struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// ParseRoot reads what NewRoot made.
func ParseRoot(certPEM, keyPEM []byte) (*Root, error) {
	cert, err := identity.ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read CA certificate: %w", err)
	}
	key, err := identity.ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	return &Root{cert, key}, nil
}

// Sign makes a node's certificate in PEM form, valid from now on for the given time. Of the request only the key counts.
func (r *Root) Sign(requestPEM []byte, nodeID, clusterID string, role identity.Role, life time.Duration) ([]byte, error) {
	req, err := identity.ParseRequest(requestPEM)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial(),
		Subject: pkix.Name{
			CommonName:         nodeID,
			OrganizationalUnit: []string{string(role)},
			Organization:       []string{clusterID},
		},
		DNSNames:    []string{nodeID},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, r.cert, req.PublicKey, r.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of node %s: %w", nodeID, err)
	}
	return encode(der), nil
}

// NewToken makes a join token for the cluster with this CA certificate.
func NewToken(caPEM []byte) (string, error) {
	cert, err := identity.ParseCert(caPEM)
	if err != nil {
		return "", fmt.Errorf("make join token: %w", err)
	}
	return identity.NewToken(cert).String(), nil
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

func encode(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
