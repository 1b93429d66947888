//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/shoal-dev/shoal/internal/pause"
)

// Retry says how often and how soon to try again what may succeed later.
type Retry struct {
	Attempts int           // without any progress between them
	First    time.Duration // wait before the second attempt, then twice as long each time
	Longest  time.Duration
}

// do calls try until it succeeds, fails for good, or has failed too often.
func (r Retry) do(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || !temporary(err) || n >= r.Attempts {
			return err
		}
		if r.wait(ctx, n) != nil {
			return err
		}
	}
}

// wait before attempt n+1: twice as long each time, spread so that many nodes do not come back together.
func (r Retry) wait(ctx context.Context, n int) error {
	d := min(r.First<<min(n-1, 16), r.Longest)
	return pause.For(ctx, d/2+rand.N(d/2+1))
}

// temporary tells failures of the way (network, overload) from answers.
func temporary(err error) bool {
	var answer *transport.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errPlain), errors.Is(err, errFinal):
		return false
	case errors.As(err, &answer):
		return temporaryStatus(answer.StatusCode)
	}
	// No such host, or nobody listening: an answer too, and the person at the terminal waits for it.
	text := err.Error()
	return !strings.Contains(text, "no such host") && !strings.Contains(text, "connection refused") && !strings.Contains(text, "certificate")
}

func temporaryStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// errFinal marks failures that a second attempt would only repeat.
var errFinal = errors.New("")

// plain turns a registry's answer into a line for a person.
func plain(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%w in the registry, or it needs a login", ErrNotFound)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the registry denies access: log in, or check the name (%s)", firstMessage(answer))
	}
	return fmt.Errorf("the registry answered %d %s (%s)", answer.StatusCode, http.StatusText(answer.StatusCode), firstMessage(answer))
}

func firstMessage(e *transport.Error) string {
	for _, d := range e.Errors {
		return strings.TrimSpace(string(d.Code) + " " + d.Message)
	}
	return http.StatusText(e.StatusCode)
}

// answerError reads what a registry says for an error.
func answerError(res *http.Response) error {
	if err := transport.CheckError(res, http.StatusOK); err != nil {
		return err
	}
	return fmt.Errorf("%wthe registry answered %s", errFinal, res.Status)
}
