// Package id makes identifiers in the two forms that Docker's clients expect.
//
// Cluster objects (nodes, services, tasks, networks) have 25 characters of base 36,
// containers, images and local networks 64 hexadecimal digits.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"strings"
)

// length of a cluster object's ID: 128 bits fit in 25 digits of base 36.
const length = 25

// New returns a random ID of length characters from 0-9a-z.
func New() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	s := new(big.Int).SetBytes(b[:]).Text(36)
	return strings.Repeat("0", length-len(s)) + s
}

// NewHex returns a random ID of 64 hexadecimal digits.
func NewHex() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
