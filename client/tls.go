package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// credentialsFor: a unix socket is guarded by its permissions, everything else by mutual TLS.
func credentialsFor(h Host, o Options) (credentials.TransportCredentials, error) {
	if h.Network == "unix" {
		return insecure.NewCredentials(), nil
	}
	if o.CACert == "" || o.Cert == "" || o.Key == "" {
		return nil, fmt.Errorf("%s is reached over mutual TLS: give --tlscacert, --tlscert and --tlskey", h)
	}
	conf, err := tlsConfig(o)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(conf), nil
}

func tlsConfig(o Options) (*tls.Config, error) {
	pem, err := os.ReadFile(o.CACert)
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the CA's certificate: %s holds no PEM certificate", o.CACert)
	}
	cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("read the client's certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		// Identity is not address: a node's certificate names its ID and not where it is today.
		// So the chain is checked below, and the host name is not.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return verifyChain(s, pool) },
	}, nil
}

func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the daemon showed no certificate")
	}
	inter := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}
