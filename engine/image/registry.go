//go:build linux

package image

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// remoteRepo is an authenticated way to one repository.
type remoteRepo struct {
	repo   name.Repository
	rt     http.RoundTripper
	client *http.Client
	retry  Retry
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		IdleConnTimeout:       60 * time.Second,
		MaxIdleConnsPerHost:   8,
		ForceAttemptHTTP2:     true,
	}
}

// connect finds out how the registry wants to be talked to and logs in.
func (s *Store) connect(ctx context.Context, named reference.Named, o PullOptions) (*remoteRepo, error) {
	var opts []name.Option
	base := s.Transport
	if o.Insecure {
		opts = append(opts, name.Insecure)
		base = unverified(base)
	}
	repo, err := name.NewRepository(named.Name(), opts...)
	if err != nil {
		return nil, fmt.Errorf("%w image name: %w", ErrInvalid, err)
	}
	if !o.Insecure {
		base = noPlainHTTP{next: base, here: loopback(hostOf(repo.RegistryStr()))}
	}
	auth, err := credentials(ctx, repo, o)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", repo.RegistryStr(), err)
	}
	reg := &remoteRepo{repo: repo, retry: s.Retry}
	err = reg.retry.do(ctx, func() error {
		reg.rt, err = transport.NewWithContext(ctx, repo.Registry, auth, base, []string{repo.Scope(transport.PullScope)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", repo.RegistryStr(), plain(err))
	}
	reg.client = &http.Client{Transport: reg.rt}
	return reg, nil
}

func credentials(ctx context.Context, repo name.Repository, o PullOptions) (authn.Authenticator, error) {
	if o.Auth.GetUsername() != "" || o.Auth.GetPassword() != "" {
		return &authn.Basic{Username: o.Auth.GetUsername(), Password: o.Auth.GetPassword()}, nil
	}
	return authn.Resolve(ctx, authn.DefaultKeychain, repo)
}

// noPlainHTTP keeps names, tokens and passwords off the network in clear; on a loopback address nobody listens. A registry that is
// elsewhere leads to none of those: it would reach what this host keeps from it.
type noPlainHTTP struct {
	next http.RoundTripper
	here bool // the registry is on a loopback address
}

func (t noPlainHTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	local := loopback(r.URL.Hostname())
	if local && !t.here {
		return nil, fmt.Errorf("%w: the registry leads to %s, which is this host itself", errPlain, r.URL.Host)
	}
	if r.URL.Scheme == "http" && !local {
		return nil, fmt.Errorf("%w: %s would be spoken to over plain HTTP: allow it as insecure if that is meant", errPlain, r.URL.Host)
	}
	return t.next.RoundTrip(r)
}

var errPlain = errors.New("refused")

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}

// hostOf takes the port off.
func hostOf(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return strings.Trim(hostPort, "[]")
}

func unverified(rt http.RoundTripper) http.RoundTripper {
	t, ok := rt.(*http.Transport)
	if !ok {
		return rt
	}
	t = t.Clone()
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the caller asked for it by name
	return t
}

// identifier is the digest or tag to ask for.
func (r *remoteRepo) identifier(named reference.Named) string {
	if d, ok := named.(reference.Digested); ok {
		return d.Digest().String()
	}
	return named.(reference.Tagged).Tag()
}

// manifest fetches a manifest or index by tag or digest.
func (r *remoteRepo) manifest(ctx context.Context, identifier string) (rawManifest, error) {
	var ref name.Reference = r.repo.Tag(identifier)
	if strings.Contains(identifier, ":") {
		ref = r.repo.Digest(identifier)
	}
	var m rawManifest
	err := r.retry.do(ctx, func() error {
		d, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(r.rt))
		if err != nil {
			return err
		}
		m = rawManifest{digest: digest.FromBytes(d.Manifest), mediaType: string(d.MediaType), body: d.Manifest}
		return nil
	})
	if err != nil {
		return m, plain(err)
	}
	if strings.Contains(identifier, ":") && m.digest.String() != identifier {
		return m, fmt.Errorf("the registry answered with %s", m.digest)
	}
	if len(m.body) > maxConfig {
		return m, fmt.Errorf("manifest %s is longer than %d bytes", m.digest, maxConfig)
	}
	return m, nil
}

// choose follows indexes down to the manifest for the platform.
func (r *remoteRepo) choose(ctx context.Context, m rawManifest, want Platform) (rawManifest, error) {
	for range 4 { // indexes in indexes, but not without end
		switch m.mediaType {
		case v1.MediaTypeImageManifest, dockerManifest:
			return m, nil
		case v1.MediaTypeImageIndex, dockerIndex:
		default:
			return m, fmt.Errorf("manifests of type %q are not supported", m.mediaType)
		}
		d, err := choosePlatform(m.body, want)
		if err != nil {
			return m, err
		}
		if m, err = r.manifest(ctx, d.Digest.String()); err != nil {
			return m, err
		}
	}
	return m, errors.New("indexes are nested too deeply")
}

// choosePlatform picks from an index. An entry that names no platform fits any, but only if no other does.
func choosePlatform(index []byte, want Platform) (v1.Descriptor, error) {
	var ix v1.Index
	if err := json.Unmarshal(index, &ix); err != nil {
		return v1.Descriptor{}, fmt.Errorf("read index: %w", err)
	}
	var have []string
	var anyPlatform *v1.Descriptor
	for i, d := range ix.Manifests {
		if d.Platform == nil {
			anyPlatform = &ix.Manifests[i]
			continue
		}
		p := Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture}
		if p == want {
			return d, nil
		}
		if p.OS != "unknown" { // attestations and the like
			have = append(have, platformText(p))
		}
	}
	if anyPlatform != nil {
		return *anyPlatform, nil
	}
	slices.Sort(have)
	return v1.Descriptor{}, fmt.Errorf("no image for %s, there is %s", platformText(want), strings.Join(slices.Compact(have), ", "))
}
