//go:build embed_shim

package shim

import _ "embed"

//go:embed shoal-shim-arm64
var program []byte

func embedded() []byte { return program }
