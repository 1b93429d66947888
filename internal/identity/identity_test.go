package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testCA signs for the tests: the real one is in manager/ca.
type testCA struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newCA(t *testing.T) testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour * 24 * 365), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return testCA{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (ca testCA) node(t *testing.T, id, cluster string, role Role, notAfter time.Time) (certPEM, keyPEM []byte) {
	t.Helper()
	keyPEM, err := NewKey()
	check(t, err)
	reqPEM, err := NewRequest(keyPEM)
	check(t, err)
	req, err := ParseRequest(reqPEM)
	check(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: id, OrganizationalUnit: []string{string(role)}, Organization: []string{cluster}},
		NotBefore:    notAfter.Add(-100 * time.Hour), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, ca.cert, req.PublicKey, ca.key)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM
}

func (ca testCA) identity(t *testing.T, id, cluster string, role Role, notAfter time.Time) *Identity {
	t.Helper()
	cert, key := ca.node(t, id, cluster, role, notAfter)
	i, err := New(t.TempDir(), cert, key, ca.pem)
	check(t, err)
	return i
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSaveLoadReplace(t *testing.T) {
	ca := newCA(t)
	dir := filepath.Join(t.TempDir(), "certs")
	if _, err := Load(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("load of nothing: %v, want os.ErrNotExist", err)
	}
	cert, key := ca.node(t, "n1", "c1", Worker, time.Now().Add(time.Hour))
	i, err := New(dir, cert, key, ca.pem)
	check(t, err)
	changed := i.Changed()
	cert2, key2 := ca.node(t, "n1", "c1", Manager, time.Now().Add(time.Hour))
	check(t, i.Replace(cert2, key2, ca.pem))
	select {
	case <-changed:
	default:
		t.Error("Changed is not closed after Replace")
	}
	other, otherKey := ca.node(t, "n2", "c1", Manager, time.Now().Add(time.Hour))
	if err := i.Replace(other, otherKey, ca.pem); err == nil {
		t.Error("another node's certificate was accepted")
	}
	loaded, err := Load(dir)
	check(t, err)
	if got := loaded.Info(); got.NodeID != "n1" || got.ClusterID != "c1" || got.Role != Manager {
		t.Errorf("loaded %+v", got)
	}
	for _, f := range []string{CertFile, KeyFile, CAFile} {
		if st, err := os.Stat(filepath.Join(dir, f)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", f, st.Mode(), err)
		}
	}
	if got := loaded.RenewAt(); got.Before(time.Now().Add(-50*time.Hour)) || got.After(time.Now().Add(-18*time.Hour)) {
		t.Errorf("renewal at %v of 100 hours of life that end in an hour", got)
	}
}

// A crash between the renames of certificate and key must not lose the node's identity.
func TestLoadAfterCrashInReplace(t *testing.T) {
	ca := newCA(t)
	dir := t.TempDir()
	cert, key := ca.node(t, "n1", "c1", Worker, time.Now().Add(time.Hour))
	_, err := New(dir, cert, key, ca.pem)
	check(t, err)
	cert2, key2 := ca.node(t, "n1", "c1", Manager, time.Now().Add(time.Hour))
	check(t, os.WriteFile(filepath.Join(dir, KeyFile+".next"), key2, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, CertFile), cert2, 0o600))
	i, err := Load(dir)
	check(t, err)
	if i.Role() != Manager {
		t.Errorf("role %s, want that of the new certificate", i.Role())
	}
}

func handshake(client, server *tls.Config) (cerr, serr error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	srv := tls.Server(b, server)
	go func() {
		err := srv.Handshake()
		if err == nil {
			_, err = srv.Write([]byte("x")) // the client learns of a refused certificate only when it reads
		}
		b.Close()
		done <- err
	}()
	cli := tls.Client(a, client)
	cerr = cli.Handshake()
	if cerr == nil {
		_, cerr = cli.Read(make([]byte, 1))
	}
	a.Close()
	return cerr, <-done
}

func TestHandshakes(t *testing.T) {
	ca, foreign := newCA(t), newCA(t)
	hour := time.Now().Add(time.Hour)
	server := ca.identity(t, "m1", "c1", Manager, hour)
	worker := ca.identity(t, "w1", "c1", Worker, hour)
	expired := ca.identity(t, "w2", "c1", Worker, time.Now().Add(-time.Hour))
	expiredManager := ca.identity(t, "m2", "c1", Manager, time.Now().Add(-time.Hour))
	stranger := foreign.identity(t, "w3", "c1", Worker, hour)
	for name, test := range map[string]struct {
		client, server *tls.Config
		want           string // part of either side's error, "" for success
	}{
		"worker to manager":              {worker.ClientTLS("m1", "h2"), server.ServerTLS("h2"), ""},
		"any manager":                    {worker.ClientTLS("", "h2"), server.ServerTLS("h2"), ""},
		"wrong node":                     {worker.ClientTLS("m9", "h2"), server.ServerTLS("h2"), "node m1 answers where node m9"},
		"a worker as server":             {server.ClientTLS("", "h2"), worker.ServerTLS("h2"), "not a manager"},
		"foreign CA":                     {stranger.RaftTLS("", "h2"), server.ServerTLS("h2"), "not valid in cluster c1"},
		"expired may ask to renew":       {expired.ClientTLS("", "h2"), server.ServerTLS("h2"), ""},
		"expired server":                 {worker.ClientTLS("", "h2"), expiredManager.ServerTLS("h2"), "expired"},
		"expired managers find together": {server.RaftTLS("m2", "r"), expiredManager.ServerTLS("r"), ""},
		"pinned":                         {PinnedTLS(sha256.Sum256(ca.cert.Raw), "h2"), server.ServerTLS("h2"), ""},
		"pinned to another cluster":      {PinnedTLS(sha256.Sum256(foreign.cert.Raw), "h2"), server.ServerTLS("h2"), "another cluster"},
		"pinned but a worker":            {PinnedTLS(sha256.Sum256(ca.cert.Raw), "h2"), worker.ServerTLS("h2"), "not a manager"},
	} {
		t.Run(name, func(t *testing.T) {
			cerr, serr := handshake(test.client, test.server)
			both := errors.Join(cerr, serr)
			if test.want == "" && both != nil || test.want != "" && (both == nil || !strings.Contains(both.Error(), test.want)) {
				t.Errorf("client %v, server %v, want %q", cerr, serr, test.want)
			}
		})
	}
}

func TestToken(t *testing.T) {
	ca := newCA(t)
	token := NewToken(ca.cert)
	got, err := ParseToken(" " + token.String() + "\n")
	if err != nil || !got.Equal(token) {
		t.Errorf("round trip of %s: %v, %v", token, got, err)
	}
	if got.Equal(NewToken(ca.cert)) {
		t.Error("two tokens are equal")
	}
	for _, bad := range []string{"", "SHOAL-1-", "SHOAL-1-abc-def", "SWMTKN-1-" + token.String()[8:], token.String()[:70], token.String() + "x"} {
		if _, err := ParseToken(bad); err == nil {
			t.Errorf("token %q was accepted", bad)
		}
	}
}
