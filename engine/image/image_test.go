//go:build linux

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/shoal-dev/shoal/engine/content"
	"github.com/shoal-dev/shoal/engine/snapshot"
	"github.com/shoal-dev/shoal/proto/api"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	return storeIn(t, t.TempDir())
}

func storeIn(t *testing.T, dir string) *Store {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("unpacking layers needs root")
	}
	blobs, err := content.Open(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := snapshot.NewOverlay(filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Config{Dir: dir, Content: blobs, Snapshots: layers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// tarOf makes a tar; a content of "-" is a whiteout.
func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		text := files[n]
		if text == "-" {
			n, text = filepath.Join(filepath.Dir(n), ".wh."+filepath.Base(n)), ""
		}
		h := &tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1e9, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// expectFiles mounts a container of the image and looks.
func expectFiles(t *testing.T, s *Store, img *api.Image, want map[string]string) {
	t.Helper()
	chain, err := s.ChainID(img)
	if err != nil {
		t.Fatal(err)
	}
	ctx, at := context.Background(), t.TempDir()
	key := "container-" + filepath.Base(at) + t.Name()
	if err := errors.Join(s.Snapshots.Prepare(ctx, key, chain), s.Snapshots.Mount(ctx, key, at, snapshot.View{})); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	filepath.WalkDir(at, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := os.ReadFile(p)
			rel, _ := filepath.Rel(at, p)
			got[rel] = string(b)
		}
		return err
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := errors.Join(s.Snapshots.Unmount(ctx, at), s.Snapshots.Remove(ctx, key)); err != nil {
		t.Error(err)
	}
}

func importImage(t *testing.T, s *Store, ref string, files map[string]string) *api.Image {
	t.Helper()
	img, err := s.Import(t.Context(), bytes.NewReader(tarOf(t, files)), ImportOptions{Ref: ref}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImport(t *testing.T) {
	s := newStore(t)
	files := map[string]string{"bin/app": "binary", "etc/conf": "c"}
	raw := tarOf(t, files)
	for name, in := range map[string][]byte{"plain": raw, "gzip": gz(raw), "zstd": zst(raw)} {
		t.Run(name, func(t *testing.T) {
			var last *api.ImageProgress
			img, err := s.Import(t.Context(), bytes.NewReader(in), ImportOptions{
				Ref: "web:" + name, Message: "hello", Changes: []string{`CMD ["/bin/app"]`, "ENV A=b"},
			}, func(p *api.ImageProgress) { last = p })
			if err != nil {
				t.Fatal(err)
			}
			if last.GetImageId() != img.Id || last.GetRef() != "web:"+name {
				t.Errorf("last progress: %v", last)
			}
			if img.Size != int64(len("binary")+len("c")) || !slices.Equal(img.Tags, []string{"web:" + name}) {
				t.Errorf("image: %v", img)
			}
			spec, err := ParseSpec(img.Config)
			if err != nil {
				t.Fatal(err)
			}
			if spec.Config.Cmd[0] != "/bin/app" || spec.Config.Env[0] != "A=b" || spec.OS != "linux" || spec.History[0].Comment != "hello" {
				t.Errorf("config: %s", img.Config)
			}
			expectFiles(t, s, img, files)
		})
	}
	for name, in := range map[string]string{"nothing": "", "text": "this is no archive at all, just some text"} {
		if _, err := s.Import(t.Context(), strings.NewReader(in), ImportOptions{}, nil); err == nil {
			t.Errorf("%s was imported", name)
		}
	}
	if _, err := s.Import(t.Context(), bytes.NewReader(raw), ImportOptions{Changes: []string{"RUN true"}}, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("change RUN: %v", err)
	}
	if err := s.Collect(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestFailedImport: a disk that is full because of an import must not stay full.
func TestFailedImport(t *testing.T) {
	s := newStore(t)
	raw := tarOf(t, map[string]string{"bin/app": strings.Repeat("binary", 1000)})
	if _, err := s.Import(t.Context(), bytes.NewReader(raw[:2000]), ImportOptions{Ref: "web"}, nil); err == nil {
		t.Fatal("half an archive was imported")
	}
	expectEmpty(t, s)
}

func TestNames(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, "web", map[string]string{"f": "1"})
	other := importImage(t, s, "registry.example:5000/team/app:v2", map[string]string{"f": "2"})
	id := digest.Digest(img.Id).Encoded()
	for _, ref := range []string{"web", "web:latest", "docker.io/library/web", "library/web:latest", "index.docker.io/library/web", img.Id, id, id[:12], "sha256:" + id[:7]} {
		got, err := s.Get(t.Context(), ref)
		if err != nil || got.Id != img.Id {
			t.Errorf("Get(%q) = %v, %v", ref, got.GetId(), err)
		}
	}
	if got, err := s.Get(t.Context(), "registry.example:5000/team/app:v2"); err != nil || got.Id != other.Id || got.Tags[0] != "registry.example:5000/team/app:v2" {
		t.Errorf("%v, %v", got, err)
	}
	for ref, want := range map[string]error{
		"web:v2": ErrNotFound, "app": ErrNotFound, "registry.example:5000/team/app": ErrNotFound, "Web": ErrInvalid, "": ErrInvalid,
		strings.Repeat("0", 64): ErrNotFound, "web@sha256:" + strings.Repeat("0", 64): ErrNotFound,
	} {
		if _, err := s.Get(t.Context(), ref); !errors.Is(err, want) {
			t.Errorf("Get(%q): %v, want %v", ref, err, want)
		}
	}
	images, err := s.List(t.Context())
	if err != nil || len(images) != 2 || images[0].Id != other.Id {
		t.Errorf("list: %v, %v", images, err)
	}
}

func TestTagAndRemove(t *testing.T) {
	s := newStore(t)
	users := map[string][]string{}
	s.InUse = func(id string) []string { return users[id] }
	img := importImage(t, s, "web", map[string]string{"f": "1"})
	for _, tag := range []string{"web:v1", "other/app"} {
		if err := s.Tag(t.Context(), "web", tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(t.Context(), "web", "web@"+img.Id); !errors.Is(err, ErrInvalid) {
		t.Errorf("tag with a digest: %v", err)
	}
	if err := s.Tag(t.Context(), "unknown", "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("tag of nothing: %v", err)
	}
	if _, err := s.Remove(t.Context(), img.Id, false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "several tags") {
		t.Errorf("by ID: %v", err)
	}
	done, err := s.Remove(t.Context(), "other/app", false)
	if diff := cmp.Diff(Removed{Untagged: []string{"other/app:latest"}}, done); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if _, err := s.Remove(t.Context(), img.Id, false); !errors.Is(err, ErrInUse) {
		t.Errorf("by ID, with two tags in one repository: %v", err)
	}
	users[img.Id] = []string{"happy_fox"}
	if _, err = s.Remove(t.Context(), "web:v1", false); err != nil {
		t.Errorf("a name of several goes although a container uses the image: %v", err)
	}
	if _, err = s.Remove(t.Context(), "web", false); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "happy_fox") {
		t.Errorf("in use: %v", err)
	}
	delete(users, img.Id)
	done, err = s.Remove(t.Context(), "web", false)
	if diff := cmp.Diff(Removed{Untagged: []string{"web:latest"}, Deleted: []string{img.Id, img.Layers[0]}}, done); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if _, err = s.Remove(t.Context(), "web", true); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	expectEmpty(t, s)
}

// expectEmpty checks that nothing of any image is left.
func expectEmpty(t *testing.T, s *Store) {
	t.Helper()
	s.Content.Walk(func(d digest.Digest, n int64) error { t.Errorf("blob %s is left", d); return nil })
	infos, _ := s.Snapshots.List(t.Context())
	if len(infos) > 0 {
		t.Errorf("snapshots are left: %v", infos)
	}
}

// A container keeps the layers it stands on, even when its image is removed by force; the next sweep takes them.
func TestRemoveUnderAContainer(t *testing.T) {
	s := newStore(t)
	img := importImage(t, s, "web", map[string]string{"f": "1"})
	chain, _ := s.ChainID(img)
	if err := s.Snapshots.Prepare(t.Context(), "container", chain); err != nil {
		t.Fatal(err)
	}
	s.InUse = func(string) []string { return []string{"c"} }
	if _, err := s.Remove(t.Context(), "web", true); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	if err := s.Snapshots.Mount(t.Context(), "container", at, snapshot.View{}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(at, "f")); err != nil || string(b) != "1" {
		t.Errorf("%q, %v", b, err)
	}
	if err := errors.Join(s.Snapshots.Unmount(t.Context(), at), s.Snapshots.Remove(t.Context(), "container"), s.Collect(t.Context())); err != nil {
		t.Fatal(err)
	}
	expectEmpty(t, s)
}

func TestReimportMovesTheName(t *testing.T) {
	s := newStore(t)
	first := importImage(t, s, "web", map[string]string{"f": "1"})
	second := importImage(t, s, "web", map[string]string{"f": "2"})
	got, err := s.Get(t.Context(), first.Id)
	if err != nil || len(got.Tags) != 0 {
		t.Errorf("first: %v, %v", got, err)
	}
	if got, _ := s.Get(t.Context(), "web"); got.GetId() != second.Id {
		t.Error("the name means the first image still")
	}
}

func TestSaveAndLoad(t *testing.T) {
	s := newStore(t)
	a := importImage(t, s, "web", map[string]string{"f": "1"})
	b := importImage(t, s, "reg.example/b:v1", map[string]string{"f": "2"})
	s.Tag(t.Context(), "web", "web:v1")
	var saved bytes.Buffer
	if err := s.Save(t.Context(), []string{"web", "web:v1", b.Id}, &saved); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string][]byte{"plain": saved.Bytes(), "gzip": gz(saved.Bytes()), "zstd": zst(saved.Bytes())} {
		t.Run(name, func(t *testing.T) {
			to := newStore(t)
			var loaded []string
			images, err := to.Load(t.Context(), bytes.NewReader(in), func(p *api.ImageProgress) {
				if p.ImageId != "" {
					loaded = append(loaded, p.ImageId+" "+p.Ref)
				}
			})
			if want := []string{a.Id + " web:latest", a.Id + " web:v1", b.Id + " "}; !slices.Equal(loaded, want) {
				t.Errorf("said to be loaded: %q, want %q", loaded, want)
			}
			if err != nil || len(images) != 2 {
				t.Fatal(images, err)
			}
			if images[0].Id != a.Id || !slices.Equal(images[0].Tags, []string{"web:latest", "web:v1"}) || images[0].ManifestDigest != a.ManifestDigest {
				t.Errorf("first image: %v", images[0])
			}
			if images[1].Id != b.Id || len(images[1].Tags) != 0 {
				t.Errorf("second image, saved by ID: %v", images[1])
			}
			expectFiles(t, to, images[0], map[string]string{"f": "1"})
			var again bytes.Buffer
			if err := to.Save(t.Context(), []string{"web", "web:v1", b.Id}, &again); err != nil || !bytes.Equal(again.Bytes(), saved.Bytes()) {
				t.Errorf("saved again it differs (%d and %d bytes), %v", again.Len(), saved.Len(), err)
			}
			n := 0
			to.Content.Walk(func(digest.Digest, int64) error { n++; return nil })
			if n != 6 {
				t.Errorf("%d blobs are kept, 6 belong to the images", n)
			}
		})
	}
	for ref, want := range map[string]string{"reg.example/b": "reg.example/b:v1", "web": "web:latest web:v1", "web:v1": "web:v1"} {
		var one bytes.Buffer
		if err := s.Save(t.Context(), []string{ref}, &one); err != nil {
			t.Errorf("save %s: %v", ref, err)
			continue
		}
		images, err := newStore(t).Load(t.Context(), &one, nil)
		if err != nil || len(images) != 1 || !slices.Equal(images[0].Tags, strings.Fields(want)) {
			t.Errorf("save %s has %v, %v, want %s", ref, images, err, want)
		}
	}
	if err := s.Save(t.Context(), []string{"nothing"}, io.Discard); !errors.Is(err, ErrNotFound) {
		t.Errorf("save of nothing: %v", err)
	}
}

// archiveOf makes a tar with the given files in order, links as "-> target".
func archiveOf(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f[1]))}
		if to, ok := strings.CutPrefix(f[1], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
			f[1] = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, f[1])
	}
	w.Close()
	return b.Bytes()
}

func configFor(layers ...[]byte) string {
	spec := Spec{}
	spec.OS, spec.Architecture = "linux", "amd64"
	spec.RootFS.Type = "layers"
	for _, l := range layers {
		spec.RootFS.DiffIDs = append(spec.RootFS.DiffIDs, digest.FromBytes(l))
	}
	b, _ := json.Marshal(spec)
	return string(b)
}

// The layout of Docker before 25: a directory a layer, equal layers as links to each other.
func TestLoadOldDockerArchive(t *testing.T) {
	s := newStore(t)
	base, top := tarOf(t, map[string]string{"f": "1", "gone": "x"}), tarOf(t, map[string]string{"gone": "-", "g": "2"})
	config := configFor(base, top, top)
	in := archiveOf(t, [2]string{"aaa/VERSION", "1.0"}, [2]string{"aaa/layer.tar", string(base)}, [2]string{"bbb/layer.tar", string(top)},
		[2]string{"ccc/layer.tar", "-> ../bbb/layer.tar"}, [2]string{"c0ffee.json", config}, [2]string{"repositories", "{}"},
		[2]string{"manifest.json", `[{"Config":"c0ffee.json","RepoTags":["web:old","reg.example/web:1"],"Layers":["aaa/layer.tar","bbb/layer.tar","ccc/layer.tar"]}]`})
	images, err := s.Load(t.Context(), bytes.NewReader(in), nil)
	if err != nil {
		t.Fatal(err)
	}
	if images[0].Id != digest.FromString(config).String() || !slices.Equal(images[0].Tags, []string{"web:old", "reg.example/web:1"}) {
		t.Errorf("image: %v", images[0])
	}
	expectFiles(t, s, images[0], map[string]string{"f": "1", "g": "2"})
}

// An OCI layout as tools other than Docker write it: two platforms, a name in the annotations, an attestation.
func TestLoadOCILayout(t *testing.T) {
	s := newStore(t)
	s.Platform = Platform{"linux", "amd64"}
	layer := tarOf(t, map[string]string{"f": "1"})
	var files [][2]string
	blob := func(b []byte, mediaType string) v1.Descriptor {
		d := digest.FromBytes(b)
		files = append(files, [2]string{"blobs/sha256/" + d.Encoded(), string(b)})
		return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
	}
	object := func(v any, mediaType string) v1.Descriptor {
		b, _ := json.Marshal(v)
		return blob(b, mediaType)
	}
	l := blob(gz(layer), v1.MediaTypeImageLayerGzip)
	m := object(v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: blob([]byte(configFor(layer)), v1.MediaTypeImageConfig), Layers: []v1.Descriptor{l}}, v1.MediaTypeImageManifest)
	m.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	arm := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("not in here"), Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}
	inner := object(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{arm, m}}, v1.MediaTypeImageIndex)
	inner.Annotations = map[string]string{v1.AnnotationRefName: "reg.example/app:v1"}
	artifact := object(v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: v1.Descriptor{MediaType: "application/vnd.example", Digest: l.Digest}}, v1.MediaTypeImageManifest)
	ix, _ := json.Marshal(v1.Index{Manifests: []v1.Descriptor{artifact, inner}})
	files = append(files, [2]string{"index.json", string(ix)}, [2]string{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`})
	images, err := s.Load(t.Context(), bytes.NewReader(archiveOf(t, files...)), nil)
	if err != nil || len(images) != 1 || !slices.Equal(images[0].Tags, []string{"reg.example/app:v1"}) {
		t.Fatal(images, err)
	}
	expectFiles(t, s, images[0], map[string]string{"f": "1"})
}

func TestLoadRefuses(t *testing.T) {
	s := newStore(t)
	layer := tarOf(t, map[string]string{"f": "1"})
	other := tarOf(t, map[string]string{"f": "2"})
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"text":          {[]byte(strings.Repeat("no archive ", 100)), "not a tar archive"},
		"root fs":       {layer, "image import"},
		"missing layer": {archiveOf(t, [2]string{"c", configFor(layer)}, [2]string{"manifest.json", `[{"Config":"c","Layers":["l"]}]`}), `lacks "l"`},
		"wrong layer":   {archiveOf(t, [2]string{"c", configFor(layer)}, [2]string{"l", string(other)}, [2]string{"manifest.json", `[{"Config":"c","Layers":["l"]}]`}), "the image's config says"},
		"layer count":   {archiveOf(t, [2]string{"c", configFor(layer)}, [2]string{"manifest.json", `[{"Config":"c","Layers":[]}]`}), "do not agree"},
		"damaged":       {archiveOf(t, [2]string{"blobs/sha256/" + digest.FromString("x").Encoded(), "y"}, [2]string{"index.json", `{"manifests":[{"mediaType":"` + v1.MediaTypeImageManifest + `","digest":"` + digest.FromString("x").String() + `","size":1}]}`}), "damaged"},
	} {
		if _, err := s.Load(t.Context(), bytes.NewReader(tc.in), nil); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	expectEmpty(t, s)
}

func TestSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	s := storeIn(t, dir)
	img := importImage(t, s, "web", map[string]string{"f": "1"})
	if _, err := Open(Config{Dir: dir, Content: s.Content, Snapshots: s.Snapshots}); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("opened twice: %v", err)
	}
	s.Close()
	s = storeIn(t, dir)
	if err := s.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), "web")
	if err != nil || got.Id != img.Id || got.Size != img.Size {
		t.Fatal(got, err)
	}
	expectFiles(t, s, got, map[string]string{"f": "1"})
}
