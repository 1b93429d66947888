//go:build linux

package plugin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	mediaType = "application/vnd.docker.plugins.v1.2+json"
	// callTimeout is for work such as formatting a disk; dialTimeout for a plugin that is being started again.
	callTimeout = 2 * time.Minute
	dialTimeout = 2 * time.Second
	dialEvery   = 50 * time.Millisecond
	maxAnswer   = 16 << 20
)

// client sends requests to one plugin.
type client struct {
	name string
	at   address
	http *http.Client
}

func newClient(name string, at address) (*client, error) {
	c := &client{name: name, at: at}
	t := &http.Transport{DialContext: c.dial, MaxIdleConns: 2, IdleConnTimeout: time.Minute}
	if at.tls {
		var err error
		if t.TLSClientConfig, err = at.tlsConfig.load(); err != nil {
			return nil, fmt.Errorf("volume plugin %s: %w", name, err)
		}
	}
	c.http = &http.Client{Transport: t}
	return c, nil
}

func (f tlsFiles) load() (*tls.Config, error) {
	cfg := &tls.Config{InsecureSkipVerify: f.InsecureSkipVerify}
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.CAFile)
		}
	}
	if f.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// dial tries for a while: nothing has been sent yet, and a plugin may be on its way up.
func (c *client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, c.at.network, c.at.target)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialEvery):
		}
	}
}

// refusal is an answer that says no, and why.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func refused(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// call asks one thing. Errors name the plugin and are one line.
func (c *client) call(ctx context.Context, method string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.post(ctx, method, request, answer); err != nil {
		return fmt.Errorf("volume plugin %s: %w", c.name, err)
	}
	return nil
}

func (c *client) post(ctx context.Context, method string, request, answer any) error {
	body := []byte{}
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	scheme := "http"
	if c.at.tls {
		scheme = "https"
	}
	host := "plugin"
	if c.at.network == "tcp" {
		host = c.at.target
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+host+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", mediaType)
	req.Header.Set("Content-Type", mediaType)
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("it does not answer at %s: %w: is it running?", c.at, cause(err))
	}
	defer resp.Body.Close()
	return decode(resp, method, answer)
}

// cause leaves out what the client says about the address that it was given.
func cause(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func decode(resp *http.Response, method string, answer any) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read its answer to %s: %w", method, err)
	}
	var no struct{ Err string }
	err = json.Unmarshal(data, &no)
	switch {
	case no.Err != "":
		return &refusal{oneLine(no.Err)}
	case resp.StatusCode == http.StatusNotFound:
		return &refusal{"it does not know " + method}
	case resp.StatusCode != http.StatusOK:
		return &refusal{oneLine(fmt.Sprintf("%s: %s %s", method, resp.Status, data))}
	case err != nil:
		return fmt.Errorf("its answer to %s is not JSON: %w", method, err)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(data, answer)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
