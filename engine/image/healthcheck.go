//go:build linux

package image

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

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

// flag takes up one option of a HEALTHCHECK line.
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
