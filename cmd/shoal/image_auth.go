package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-dev/shoal/proto/api"
)

// registryAuth looks for a login of `docker login` in $DOCKER_CONFIG or ~/.docker. Without one the pull is
// anonymous; a login kept by a credential helper is not asked for.
func registryAuth(ref string) *api.RegistryAuth {
	b, err := os.ReadFile(filepath.Join(dockerConfigDir(), "config.json"))
	if err != nil {
		return nil
	}
	var conf struct {
		Auths map[string]struct{ Auth string }
	}
	if json.Unmarshal(b, &conf) != nil {
		return nil
	}
	for _, key := range authKeys(ref) {
		plain, err := base64.StdEncoding.DecodeString(conf.Auths[key].Auth)
		if user, password, ok := strings.Cut(string(plain), ":"); err == nil && ok {
			return &api.RegistryAuth{Username: user, Password: password}
		}
	}
	return nil
}

func dockerConfigDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".docker")
}

// authKeys are the names under which docker login files a registry.
func authKeys(ref string) []string {
	host, _, hasSlash := strings.Cut(ref, "/")
	if !hasSlash || !strings.ContainsAny(host, ".:") && host != "localhost" || host == "docker.io" {
		return []string{"https://index.docker.io/v1/", "index.docker.io", "docker.io"}
	}
	return []string{host, "https://" + host, "http://" + host}
}
