package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Token lets a new node join: SHOAL-1-DIGEST-SECRET, both in base 36. The digest is that of the CA
// certificate, so that the node knows whom it talks to before it sends the secret.
type Token struct {
	Digest [sha256.Size]byte
	Secret string
}

const (
	tokenPrefix  = "SHOAL-1-"
	digestDigits = 50 // 256 bits in base 36
	secretDigits = 25 // 128 bits in base 36
)

// NewToken makes a token with a fresh secret for the cluster with this CA certificate.
func NewToken(ca *x509.Certificate) Token {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return Token{Digest: sha256.Sum256(ca.Raw), Secret: base36(b[:], secretDigits)}
}

func (t Token) String() string {
	return tokenPrefix + base36(t.Digest[:], digestDigits) + "-" + t.Secret
}

// ParseToken reads what String wrote.
func ParseToken(s string) (Token, error) {
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("join token does not begin with %s: copy the whole line that `shoal cluster token` prints", tokenPrefix)
	}
	digest, secret, ok := strings.Cut(rest, "-")
	n, isNumber := new(big.Int).SetString(digest, 36)
	if !ok || !isNumber || len(digest) != digestDigits || len(secret) != secretDigits || n.Sign() < 0 || n.BitLen() > 256 {
		return Token{}, errors.New("join token is incomplete or mistyped: copy the whole line that `shoal cluster token` prints")
	}
	t := Token{Secret: secret}
	n.FillBytes(t.Digest[:])
	return t, nil
}

// Equal compares in constant time.
func (t Token) Equal(o Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.String()), []byte(o.String())) == 1
}

func base36(b []byte, digits int) string {
	s := new(big.Int).SetBytes(b).Text(36)
	return strings.Repeat("0", digits-len(s)) + s
}
