package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/proto/api"
)

// defaultPath is PATH for an image that sets none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Env merges the environment: PATH, HOSTNAME and TERM, then the image's, then the container's own.
// An entry "KEY" without "=" removes KEY.
func Env(s *api.ContainerSpec, img ocispec.ImageConfig, hostname string) []string {
	env := []string{"PATH=" + defaultPath}
	if hostname != "" {
		env = append(env, "HOSTNAME="+hostname)
	}
	if s.GetTty() {
		env = append(env, "TERM=xterm")
	}
	return MergeEnv(MergeEnv(env, img.Env), s.GetEnv())
}

// MergeEnv lays over on base, keeping the order in which keys first appear.
func MergeEnv(base, over []string) []string {
	out := slices.Clone(base)
	at := map[string]int{} // of keys: an image may have very many
	for i, e := range out {
		key, _, _ := strings.Cut(e, "=")
		if _, twice := at[key]; !twice {
			at[key] = i
		}
	}
	gone := map[int]bool{}
	for _, e := range over {
		key, _, set := strings.Cut(e, "=")
		i, have := at[key]
		switch {
		case set && have:
			out[i] = e
		case set:
			at[key] = len(out)
			out = append(out, e)
		case have:
			gone[i] = true
			delete(at, key)
		}
	}
	if len(gone) == 0 {
		return out
	}
	left := out[:0]
	for i, e := range out {
		if !gone[i] {
			left = append(left, e)
		}
	}
	return left
}

// Command merges entrypoint and arguments with the image's, as Docker does: an entrypoint of one's own
// discards the image's CMD.
func Command(s *api.ContainerSpec, img ocispec.ImageConfig) ([]string, error) {
	entrypoint, args := s.GetEntrypoint(), s.GetArgs()
	own := len(entrypoint) > 0 || s.GetEntrypointSet()
	if !own {
		entrypoint = img.Entrypoint
		if len(args) == 0 {
			args = img.Cmd
		}
	}
	if len(entrypoint) == 1 && entrypoint[0] == "" {
		entrypoint = nil
	}
	argv := slices.Concat(entrypoint, args)
	if len(argv) == 0 {
		return nil, fmt.Errorf("no command specified: the image has neither ENTRYPOINT nor CMD")
	}
	return argv, nil
}

// Workdir is the container's working directory.
func Workdir(s *api.ContainerSpec, img ocispec.ImageConfig) string {
	dir := s.GetWorkdir()
	if dir == "" {
		dir = img.WorkingDir
	}
	return path.Clean("/" + dir)
}
