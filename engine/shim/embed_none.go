//go:build !embed_shim || !linux || (!amd64 && !arm64)

package shim

func embedded() []byte { return nil }
