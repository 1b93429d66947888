//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/engine/content"
)

// stalled is how long a connection may bring nothing before another is tried.
const stalled = 30 * time.Second

// fetch brings a blob in from the registry, continuing where an earlier attempt stopped. Concurrent calls for one blob
// share the work.
func (s *Store) fetch(ctx context.Context, reg *remoteRepo, d v1.Descriptor, p *progress) error {
	p.say(d.Digest, "Waiting", 0, d.Size)
	in, err := s.Content.Resume(ctx, d.Digest)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", short(d.Digest), err)
	}
	if in == nil {
		p.say(d.Digest, "Already exists", 0, 0)
		return nil
	}
	defer in.Close()
	release, err := s.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := reg.download(ctx, in, d, p); err != nil {
		return fmt.Errorf("fetch %s: %w", short(d.Digest), plain(err))
	}
	s.FaultPoint("image.blob")
	p.say(d.Digest, "Download complete", d.Size, d.Size)
	return nil
}

// download fills the ingest and commits it. What a broken connection brought counts: only attempts are numbered that
// came no further than any before. (Further than the last one is not enough: a registry whose blob is too short brings
// it all, refuses to continue, brings it all again, without end.)
func (r *remoteRepo) download(ctx context.Context, in *content.Ingest, d v1.Descriptor, p *progress) error {
	resumed := in.Size() > 0
	if in.Size() > d.Size {
		if err := in.Truncate(); err != nil {
			return err
		}
	}
	furthest := in.Size()
	for n := 1; in.Size() < d.Size || d.Size == 0; n++ {
		err := r.attempt(ctx, in, d, p)
		if err == nil {
			break
		}
		if in.Size() > furthest {
			furthest, n = in.Size(), 1
		}
		if !temporary(err) || n >= r.retry.Attempts || r.retry.wait(ctx, n) != nil {
			return err
		}
	}
	_, err := in.Commit()
	if errors.Is(err, content.ErrDigest) && resumed {
		return fmt.Errorf("%w: what an earlier attempt left was spoilt and is gone, try again", err)
	}
	return err
}

// attempt makes one request for what is missing and reads it to its end.
func (r *remoteRepo) attempt(ctx context.Context, in *content.Ingest, d v1.Descriptor, p *progress) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dog := time.AfterFunc(stalled, func() { cancel(errStalled) })
	defer dog.Stop()
	res, err := r.request(ctx, d, in.Size())
	if err != nil {
		return cause(ctx, err)
	}
	defer res.Body.Close()
	if err := position(in, res); err != nil {
		return err
	}
	left := d.Size - in.Size()
	body := p.reader(res.Body, d.Digest, "Downloading", in.Size(), d.Size)
	n, err := io.Copy(in, io.LimitReader(&watched{body, dog}, left+1))
	switch {
	case err != nil:
		return cause(ctx, err)
	case n > left:
		in.Truncate() // best effort: the digest would not fit anyway
		return fmt.Errorf("%wthe registry sends more than the %d bytes announced", errFinal, d.Size)
	case n < left:
		return io.ErrUnexpectedEOF
	}
	return nil
}

var errStalled = errors.New("the connection brought nothing for " + stalled.String())

func cause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

func (r *remoteRepo) request(ctx context.Context, d v1.Descriptor, from int64) (*http.Response, error) {
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", r.repo.Scheme(), r.repo.RegistryStr(), r.repo.RepositoryStr(), d.Digest)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // a transparently decompressed body would have another digest
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	return r.client.Do(req)
}

// position brings the ingest to where the answer begins.
func position(in *content.Ingest, res *http.Response) error {
	switch res.StatusCode {
	case http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-", in.Size()); !strings.HasPrefix(res.Header.Get("Content-Range"), want) {
			return errors.Join(fmt.Errorf("asked for %s, the registry answered with %q", want, res.Header.Get("Content-Range")), in.Truncate())
		}
		return nil
	case http.StatusOK: // the whole, it knows no ranges
		return in.Truncate()
	case http.StatusRequestedRangeNotSatisfiable:
		return errors.Join(errors.New("the registry refuses to continue"), in.Truncate())
	}
	return answerError(res)
}

// watched tells the watchdog of every byte.
type watched struct {
	r   io.Reader
	dog *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.dog.Reset(stalled)
	}
	return n, err
}
