//go:build linux

package image

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	bolt "go.etcd.io/bbolt"
)

// Tag gives the image source one more name. A name that meant another image is taken from it.
func (s *Store) Tag(_ context.Context, source, target string) error {
	named, err := parseTag(target)
	if err != nil {
		return err
	}
	c, err := s.catalog()
	if err != nil {
		return err
	}
	r, _, err := c.resolve(source)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		if tx.Bucket([]byte(imagesBucket)).Get([]byte(r.ID)) == nil { // removed since
			return fmt.Errorf("%w: %s", ErrNotFound, source)
		}
		return tx.Bucket([]byte(namesBucket)).Put([]byte(key(named)), []byte(r.ID))
	})
	s.FaultPoint("image.tagged")
	if err == nil {
		s.Notify("tag", r.ID.String(), familiar(key(named)))
	}
	return err
}

// Removed is what Remove did: names taken away, IDs of images and chain IDs of layers deleted.
type Removed struct {
	Untagged []string
	Deleted  []string
}

// Remove takes a name from an image, and with its last name the image itself. Given an ID, all names go. An image that
// containers use, or an ID with several tags, needs force; the layers of containers stay in any case.
func (s *Store) Remove(ctx context.Context, ref string, force bool) (Removed, error) {
	var done Removed
	c, err := s.catalog()
	if err != nil {
		return done, err
	}
	r, byName, err := c.resolve(ref)
	if err != nil {
		return done, err
	}
	names := c.namesOf(r.ID)
	untag, last := toUntag(names, byName)
	if byName == "" && !force && tagsIn(names) > 1 {
		return done, fmt.Errorf("%w: image %s has several tags (%s): remove them one by one, or force it",
			ErrInUse, short(r.ID), strings.Join(familiarAll(names), ", "))
	}
	if users := s.InUse(r.ID.String()); last && !force && len(users) > 0 {
		return done, fmt.Errorf("%w: image %s is used by container %s: remove it first, or force it",
			ErrInUse, short(r.ID), strings.Join(users, ", "))
	}
	if err := s.forget(r.ID, untag, last); err != nil {
		return done, err
	}
	s.FaultPoint("image.forgotten")
	done.Untagged = familiarAll(untag)
	for _, name := range done.Untagged {
		s.Notify("untag", r.ID.String(), name)
	}
	if last {
		s.Notify("delete", r.ID.String(), "")
		done.Deleted = append(done.Deleted, r.ID.String())
		swept, err := s.collect(ctx)
		if err != nil {
			s.Logger.Warn("sweep after image removal", "image", r.ID, "error", err) // the next sweep tries again
		}
		done.Deleted = append(done.Deleted, swept...)
	}
	return done, nil
}

// toUntag says which names go with name (all, if it is empty) and whether the image goes with them: the digests under
// which a repository's last tag was pulled do not keep an image.
func toUntag(names []string, name string) (untag []string, last bool) {
	if name == "" {
		return names, true
	}
	tags := 0
	for _, n := range names {
		if n != name && !isDigestKey(n) && repository(n) == repository(name) {
			tags++
		}
	}
	untag = []string{name}
	for _, n := range names {
		if n != name && tags == 0 && isDigestKey(n) && repository(n) == repository(name) {
			untag = append(untag, n)
		}
	}
	return untag, len(untag) == len(names)
}

// tagsIn counts the names that are tags: the digests under which they were pulled go with them.
func tagsIn(names []string) int {
	n := 0
	for _, name := range names {
		if !isDigestKey(name) {
			n++
		}
	}
	return n
}

func familiarAll(keys []string) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = familiar(k)
	}
	return out
}

func short(d digest.Digest) string { return d.Encoded()[:12] }

// forget takes names and, if last, the image out of the database, unless a name was given to it meanwhile.
func (s *Store) forget(id digest.Digest, untag []string, last bool) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		names := tx.Bucket([]byte(namesBucket))
		for _, n := range untag {
			if string(names.Get([]byte(n))) != id.String() {
				continue // means another image by now
			}
			if err := names.Delete([]byte(n)); err != nil {
				return err
			}
		}
		if !last {
			return nil
		}
		c := names.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if string(v) == id.String() {
				return fmt.Errorf("%w: image %s was given the name %s meanwhile: try again", ErrInUse, short(id), familiar(string(k)))
			}
		}
		return tx.Bucket([]byte(imagesBucket)).Delete([]byte(id))
	})
}
