//go:build linux

package image

import (
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/shoal-dev/shoal/proto/api"
)

// step is how many bytes pass between two reports.
const step = 512 << 10

// progress passes on what happens, one call at a time.
type progress struct {
	mu     sync.Mutex
	report ProgressFunc
}

func (p *progress) send(m *api.ImageProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil {
		p.report(m)
	}
}

// say tells how far a layer is; without a blob it is about the whole.
func (p *progress) say(blob digest.Digest, status string, current, total int64) {
	m := &api.ImageProgress{Status: status, Current: current, Total: total}
	if blob != "" {
		m.Id = short(blob)
	}
	p.send(m)
}

// last is the end of the story of one image.
func (p *progress) last(imageID, ref string) {
	p.send(&api.ImageProgress{Status: "Complete", ImageId: imageID, Ref: ref})
}

// reader reports how much has been read from r, beginning at start.
func (p *progress) reader(r io.Reader, blob digest.Digest, status string, start, total int64) io.Reader {
	return &progressReader{r: r, p: p, blob: blob, status: status, n: start, told: start, total: total}
}

type progressReader struct {
	r              io.Reader
	p              *progress
	blob           digest.Digest
	status         string
	n, told, total int64
}

func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.n += int64(n)
	if r.n-r.told >= step || (err == io.EOF && r.told < r.n) {
		r.told = r.n
		r.p.say(r.blob, r.status, r.n, r.total)
	}
	return n, err
}
