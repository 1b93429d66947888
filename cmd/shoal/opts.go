package main

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"
)

// listOpt is a flag that may be repeated; check may refuse or rewrite a value.
type listOpt struct {
	values []string
	check  func(string) (string, error)
	kind   string
}

func (l *listOpt) String() string { return "" }
func (l *listOpt) Type() string {
	if l.kind != "" {
		return l.kind
	}
	return "list"
}

func (l *listOpt) Set(s string) error {
	if l.check != nil {
		var err error
		if s, err = l.check(s); err != nil {
			return err
		}
	}
	l.values = append(l.values, s)
	return nil
}

// mapOpt is a flag of key=value pairs.
type mapOpt struct {
	values map[string]string
	kind   string
}

func (m *mapOpt) String() string { return "" }
func (m *mapOpt) Type() string {
	if m.kind != "" {
		return m.kind
	}
	return "map"
}

func (m *mapOpt) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return fmt.Errorf("expected KEY=VALUE")
	}
	if m.values == nil {
		m.values = map[string]string{}
	}
	m.values[k] = v
	return nil
}

// bytesOpt is an amount such as 512m or 1.5g, in units of 1024.
type bytesOpt int64

func (b *bytesOpt) String() string {
	if *b == 0 {
		return ""
	}
	return units.BytesSize(float64(*b))
}
func (b *bytesOpt) Type() string { return "bytes" }

func (b *bytesOpt) Set(s string) error {
	n, err := units.RAMInBytes(s)
	if err != nil || n < 0 {
		return fmt.Errorf("not an amount of bytes: use a number with b, k, m or g, for example 512m")
	}
	*b = bytesOpt(n)
	return nil
}

// swapOpt is bytesOpt or -1.
type swapOpt int64

func (b *swapOpt) String() string { return "" }
func (b *swapOpt) Type() string   { return "bytes" }

func (b *swapOpt) Set(s string) error {
	if s == "-1" {
		*b = -1
		return nil
	}
	return (*bytesOpt)(b).Set(s)
}

// cpuOpt is a decimal number of CPUs, kept in billionths.
type cpuOpt int64

func (c *cpuOpt) String() string { return "" }
func (c *cpuOpt) Type() string   { return "decimal" }

func (c *cpuOpt) Set(s string) error {
	r, ok := new(big.Rat).SetString(s)
	if !ok || r.Sign() < 0 {
		return fmt.Errorf("not a number of CPUs: use a decimal, for example 1.5")
	}
	nano := r.Mul(r, big.NewRat(1e9, 1))
	if !nano.IsInt() || !nano.Num().IsInt64() {
		return fmt.Errorf("too precise: CPUs have at most nine decimals")
	}
	*c = cpuOpt(nano.Num().Int64())
	return nil
}

// durationOpt is a duration that cannot be negative.
type durationOpt time.Duration

func (d *durationOpt) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}
func (d *durationOpt) Type() string { return "duration" }

func (d *durationOpt) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("not a duration: use a number with ms, s, m or h, for example 10s")
	}
	*d = durationOpt(v)
	return nil
}

// uintOpt is a whole number; strconv's errors say more about Go than about the number.
type uintOpt struct {
	value uint64
	set   bool
}

func (u *uintOpt) String() string { return "" }
func (u *uintOpt) Type() string   { return "uint" }

func (u *uintOpt) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return fmt.Errorf("not a whole number from 0 up")
	}
	u.value, u.set = n, true
	return nil
}

// choiceOpt is a word out of a few.
type choiceOpt struct {
	value   string
	choices []string
}

func (o *choiceOpt) String() string { return o.value }
func (o *choiceOpt) Type() string   { return "string" }

func (o *choiceOpt) Set(s string) error {
	for _, c := range o.choices {
		if s == c {
			o.value = s
			return nil
		}
	}
	return fmt.Errorf("use one of %s", strings.Join(o.choices, ", "))
}
