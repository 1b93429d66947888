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
	"time"
)

// ApplyChange changes a config as a line of a Dockerfile would: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
// SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR. Others are refused. Variables are not expanded.
func ApplyChange(c *RunConfig, line string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return errors.New("an instruction and its argument are needed, such as: CMD /bin/sh")
	}
	switch strings.ToUpper(word) {
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

// pairs reads a=b "c d"='e f', or the old form: a b c.
func pairs(s string) ([][2]string, error) {
	words, err := splitWords(s)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(words[0], "=") {
		name, value, ok := strings.Cut(s, " ")
		if !ok {
			return nil, fmt.Errorf("%s has no value: write %s=VALUE", name, name)
		}
		return [][2]string{{name, strings.TrimSpace(value)}}, nil
	}
	var out [][2]string
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE", w)
		}
		out = append(out, [2]string{k, v})
	}
	return out, nil
}

// splitWords splits at spaces outside of quotes, as a shell does. s is not empty.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			if i++; quote == '"' && s[i] != '"' && s[i] != '\\' && s[i] != '$' {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

func applyEnv(c *RunConfig, s string) error {
	kvs, err := pairs(s)
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
	kvs, err := pairs(s)
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

// applyHealthcheck reads NONE, or [--interval=D --timeout=D --start-period=D --start-interval=D --retries=N] CMD command.
func applyHealthcheck(c *RunConfig, s string) error {
	h := &Healthcheck{}
	for strings.HasPrefix(s, "--") {
		flag, rest, _ := strings.Cut(s, " ")
		if err := h.flag(flag); err != nil {
			return err
		}
		s = strings.TrimSpace(rest)
	}
	word, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(word, "NONE") && rest == "":
		h.Test = []string{"NONE"}
	case strings.EqualFold(word, "CMD") && rest != "":
		if args, ok := execForm(rest); ok {
			h.Test = append([]string{"CMD"}, args...)
		} else {
			h.Test = []string{"CMD-SHELL", rest}
		}
	default:
		return errors.New("HEALTHCHECK needs CMD and a command, or NONE")
	}
	c.Healthcheck = h
	return nil
}

func (h *Healthcheck) flag(s string) error {
	name, value, _ := strings.Cut(s, "=")
	if name == "--retries" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("%s: a number is needed", s)
		}
		h.Retries = n
		return nil
	}
	to := map[string]*int64{"--interval": &h.Interval, "--timeout": &h.Timeout, "--start-period": &h.StartPeriod, "--start-interval": &h.StartInterval}[name]
	if to == nil {
		return fmt.Errorf("flag %s is not known", name)
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return fmt.Errorf("%s: a duration such as 30s is needed", s)
	}
	*to = int64(d)
	return nil
}
