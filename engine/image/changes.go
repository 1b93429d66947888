//go:build linux

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/shoal-dev/shoal/engine/signals"
)

// ApplyChanges changes a config as lines of a Dockerfile would: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
// SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR. Others are refused. Errors name the line.
func ApplyChanges(c *RunConfig, lines []string) error {
	entrypoint, cmd := false, false
	for _, line := range lines {
		word, err := applyChange(c, line)
		if err != nil {
			return fmt.Errorf("%w change %q: %w", ErrInvalid, line, err)
		}
		entrypoint, cmd = entrypoint || word == "ENTRYPOINT", cmd || word == "CMD"
	}
	if entrypoint && !cmd {
		c.Cmd = nil // arguments of another program
	}
	return nil
}

func applyChange(c *RunConfig, line string) (word string, err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	word, rest = strings.ToUpper(word), strings.TrimSpace(rest)
	if rest == "" {
		return "", errors.New("an instruction and its argument are needed, such as: CMD /bin/sh")
	}
	if slices.Contains([]string{"EXPOSE", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}, word) {
		if rest, err = variables(c.Env).expand(rest); err != nil {
			return "", err
		}
	}
	return word, applyWord(c, word, rest)
}

func applyWord(c *RunConfig, word, rest string) error {
	switch word {
	case "CMD":
		c.Cmd = command(c, rest)
		return nil
	case "ENTRYPOINT":
		c.Entrypoint = command(c, rest)
		return nil
	case "ENV":
		return applyEnv(c, rest)
	case "EXPOSE":
		return applyExpose(c, rest)
	case "HEALTHCHECK":
		return applyHealthcheck(c, rest)
	case "LABEL":
		return applyLabel(c, rest)
	case "ONBUILD":
		c.OnBuild = append(c.OnBuild, rest)
		return nil
	case "SHELL":
		shell, ok := execForm(rest)
		if !ok || len(shell) == 0 {
			return errors.New(`SHELL needs its JSON form, such as ["/bin/sh", "-c"]`)
		}
		c.Shell = shell
		return nil
	case "STOPSIGNAL":
		if _, err := signals.Parse(rest); err != nil {
			return err
		}
		c.StopSignal = rest
		return nil
	case "USER":
		c.User = rest
		return nil
	case "VOLUME":
		return applyVolume(c, rest)
	case "WORKDIR":
		c.WorkingDir = path.Join("/", c.WorkingDir, rest)
		if path.IsAbs(rest) {
			c.WorkingDir = path.Clean(rest)
		}
		return nil
	}
	return fmt.Errorf("instruction %s is not supported here", word)
}

// execForm reads ["a", "b"].
func execForm(s string) ([]string, bool) {
	var args []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &args) != nil {
		return nil, false
	}
	return args, true
}

// command is the JSON form as it is, anything else for the shell.
func command(c *RunConfig, s string) []string {
	if args, ok := execForm(s); ok {
		return args
	}
	shell := c.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), s)
}

func applyEnv(c *RunConfig, s string) error {
	kvs, err := pairs(s, c.Env)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		entry := kv[0] + "=" + kv[1]
		i := slices.IndexFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, kv[0]+"=") })
		if i >= 0 {
			c.Env[i] = entry
		} else {
			c.Env = append(c.Env, entry)
		}
	}
	return nil
}

func applyLabel(c *RunConfig, s string) error {
	kvs, err := pairs(s, c.Env)
	if err != nil {
		return err
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	for _, kv := range kvs {
		c.Labels[kv[0]] = kv[1]
	}
	return nil
}

// applyExpose reads 80, 53/udp and 8000-8010/tcp.
func applyExpose(c *RunConfig, s string) error {
	for word := range strings.FieldsSeq(s) {
		ports, proto, ok := strings.Cut(strings.ToLower(word), "/")
		if !ok {
			proto = "tcp"
		}
		if proto != "tcp" && proto != "udp" && proto != "sctp" {
			return fmt.Errorf("protocol %q is not tcp, udp or sctp", proto)
		}
		from, to, isRange := strings.Cut(ports, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || first == 0 || last < first {
			return fmt.Errorf("%q is not a port or a range of ports", word)
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		for p := first; p <= last; p++ {
			c.ExposedPorts[fmt.Sprintf("%d/%s", p, proto)] = struct{}{}
		}
	}
	return nil
}

func applyVolume(c *RunConfig, s string) error {
	paths, ok := execForm(s)
	if !ok {
		paths = strings.Fields(s)
	}
	if c.Volumes == nil {
		c.Volumes = map[string]struct{}{}
	}
	for _, p := range paths {
		if strings.TrimSpace(p) == "" {
			return errors.New("a volume needs a path")
		}
		c.Volumes[p] = struct{}{}
	}
	return nil
}
