//go:build linux

package plugin_test

import (
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/engine/volume/plugin"
	"github.com/shoal-dev/shoal/engine/volume/plugin/plugintest"
)

// A plugin on another machine: by TCP, and by TLS with its certificate checked.
func TestPluginOverTCP(t *testing.T) {
	dirs := node(t)
	p := plugintest.New(t, t.TempDir())
	open, secret := httptest.NewServer(p), httptest.NewTLSServer(p)
	t.Cleanup(open.Close)
	t.Cleanup(secret.Close)
	ca := t.TempDir() + "/ca.pem"
	at := strings.TrimPrefix(secret.URL, "https://")
	for path, text := range map[string]string{
		ca:                                string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secret.Certificate().Raw})),
		dirs.Specs[0] + "/open.spec":      "tcp://" + strings.TrimPrefix(open.URL, "http://"),
		dirs.Specs[0] + "/secret.json":    fmt.Sprintf(`{"Addr": "https://%s", "TLSConfig": {"CAFile": %q}}`, at, ca),
		dirs.Specs[0] + "/careless.json":  fmt.Sprintf(`{"Addr": "tcp://%s", "TLSConfig": {"InsecureSkipVerify": true}}`, at),
		dirs.Specs[0] + "/unknown.spec":   "https://" + at,
		dirs.Specs[0] + "/no-ca.json":     fmt.Sprintf(`{"Addr": "https://%s", "TLSConfig": {"CAFile": "/nowhere.pem"}}`, at),
		dirs.Specs[0] + "/plaintext.spec": "tcp://" + at,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"open", "secret", "careless"} {
		if scope, err := find(t, dirs, name).Scope(t.Context()); err != nil || scope != "global" {
			t.Errorf("%s: %q, %v", name, scope, err)
		}
	}
	for name, want := range map[string]string{"unknown": "certificate", "no-ca": "/nowhere.pem", "plaintext": "HTTPS"} {
		_, err := plugin.New(dirs).Find(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, want)
		}
	}
}
