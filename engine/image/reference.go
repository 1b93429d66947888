//go:build linux

package image

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/shoal-dev/shoal/internal/names"
)

// parseName reads an image name in its familiar form: "web" is docker.io/library/web:latest.
func parseName(ref string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, fmt.Errorf("%w image name %q: %w", ErrInvalid, ref, err)
	}
	return reference.TagNameOnly(named), nil
}

// parseTag reads a name that can be given to an image, so one without a digest.
func parseTag(ref string) (reference.NamedTagged, error) {
	named, err := parseName(ref)
	if err != nil {
		return nil, err
	}
	if _, ok := named.(reference.Digested); ok {
		return nil, fmt.Errorf("%w image name %q: a digest is not a name that can be given", ErrInvalid, ref)
	}
	return named.(reference.NamedTagged), nil
}

// key is the form that the database uses: with a digest, a tag beside it says nothing.
func key(named reference.Named) string {
	if d, ok := named.(reference.Digested); ok {
		return named.Name() + "@" + d.Digest().String()
	}
	return named.String()
}

// familiar turns a key of the database into what people write.
func familiar(key string) string {
	named, err := reference.ParseNormalizedNamed(key)
	if err != nil {
		return key
	}
	return reference.FamiliarString(named)
}

// repository is the part of a key before tag or digest.
func repository(key string) string {
	named, err := reference.ParseNormalizedNamed(key)
	if err != nil {
		return key
	}
	return named.Name()
}

func isDigestKey(key string) bool { return strings.Contains(key, "@") }

// resolve finds the image that ref means: a name, else an ID or the beginning of one. byName is the name's key if it
// was found by name.
func (c *catalog) resolve(ref string) (r *record, byName string, err error) {
	if d := digest.Digest(ref); d.Validate() == nil {
		if r := c.images[d]; r != nil {
			return r, "", nil
		}
		return nil, "", fmt.Errorf("%w: %s", ErrNotFound, ref)
	}
	named, nameErr := reference.ParseNormalizedNamed(ref)
	if nameErr == nil {
		if r, k := c.byName(reference.TagNameOnly(named)); r != nil {
			return r, k, nil
		}
	}
	if hex := strings.TrimPrefix(ref, "sha256:"); names.Hex(hex, 1, 64) {
		r, err := c.byPrefix(hex)
		if r != nil || err != nil {
			return r, "", err
		}
	} else if nameErr != nil {
		return nil, "", fmt.Errorf("%w image name %q: %w", ErrInvalid, ref, nameErr)
	}
	return nil, "", fmt.Errorf("%w: %s", ErrNotFound, ref)
}

func (c *catalog) byName(named reference.Named) (*record, string) {
	k := key(named)
	if r := c.images[c.names[k]]; r != nil {
		return r, k
	}
	digested, ok := named.(reference.Digested)
	if !ok {
		return nil, ""
	}
	// Pulled as part of an index, asked for by the digest of its own manifest.
	for name, id := range c.names {
		if r := c.images[id]; r != nil && r.Manifest == digested.Digest() && repository(name) == named.Name() {
			return r, name
		}
	}
	return nil, ""
}

func (c *catalog) byPrefix(hex string) (*record, error) {
	var found *record
	for id, r := range c.images {
		if !strings.HasPrefix(id.Encoded(), hex) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %s is the beginning of several", ErrAmbiguous, hex)
		}
		found = r
	}
	return found, nil
}

// tagKeys are the keys of names that images shall have.
func tagKeys(tags []string) ([]string, error) {
	var keys []string
	for _, t := range tags {
		named, err := parseTag(t)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key(named))
	}
	return keys, nil
}

// refKeys is tagKeys of a name that may be left out.
func refKeys(ref string) ([]string, error) {
	if ref == "" {
		return nil, nil
	}
	return tagKeys([]string{ref})
}
