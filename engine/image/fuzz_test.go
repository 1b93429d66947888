//go:build linux

package image

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// FuzzManifest reads any bytes as a registry's manifest and index: what is taken has digests that are such, and no negative size.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"`+someDigest+`","size":1},"layers":[{"digest":"`+someDigest+`","size":-1}]}`), v1.MediaTypeImageManifest)
	f.Add([]byte(`{"manifests":[{"digest":"`+someDigest+`","platform":{"os":"linux","architecture":"amd64"}},{"digest":"x"},null]}`), v1.MediaTypeImageIndex)
	f.Add([]byte(`{"config":{"digest":"sha256:../../x"},"layers":null}`), dockerManifest)
	f.Add([]byte(`[]`), dockerIndex)
	f.Fuzz(func(t *testing.T, body []byte, mediaType string) {
		m := rawManifest{digest: digest.FromBytes(body), mediaType: mediaType, body: body}
		if d, err := choosePlatform(body, Platform{OS: "linux", Architecture: "amd64"}); err == nil && d.Platform != nil && d.Platform.OS != "linux" {
			t.Errorf("an image for %s is chosen", d.Platform.OS)
		}
		artifact(m)
		manifest, err := parseManifest(m)
		if err != nil {
			return
		}
		for _, d := range append(manifest.Layers, manifest.Config) {
			if d.Digest.Validate() != nil || d.Size < 0 || strings.ContainsAny(d.Digest.Encoded(), "./") {
				t.Errorf("%+v is accepted", d)
			}
		}
	})
}

// FuzzConfig reads any bytes as an image's configuration and lays a Dockerfile's line over it.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","config":{"Env":["A=b"],"Volumes":{"/../v":{}},"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"]}}}`), "ENV A=$B")
	f.Add([]byte(`{"config":null,"history":[null],"rootfs":{"diff_ids":["x"]}}`), `LABEL "a b"='c' d="\"`)
	f.Add([]byte(`null`), `HEALTHCHECK --interval=1s CMD ["a"]`)
	f.Add([]byte(`{"config":{"Labels":null}}`), "EXPOSE 1-65535/udp ${x:-y}")
	f.Fuzz(func(t *testing.T, raw []byte, line string) {
		spec, err := ParseSpec(raw)
		if err != nil {
			return
		}
		if len(line) > 200 {
			return // a range of all ports, many times
		}
		if err := ApplyChanges(&spec.Config, []string{line}); err != nil {
			return
		}
		text, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSpec(text); err != nil {
			t.Errorf("what was written is not read: %v", err)
		}
	})
}

// FuzzReference: a name that is accepted stays the same name on its way through the database and to a person.
func FuzzReference(f *testing.F) {
	for _, s := range []string{"web", "a/b:c", "localhost:5000/x@" + someDigest, "[::1]:5000/x:y", "../x", "sha256:abc", "a:b@" + someDigest, "UPPER/case", "x\x00y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		named, err := parseName(s)
		if err != nil {
			return
		}
		k := key(named)
		again, err := parseName(familiar(k))
		if err != nil || key(again) != k {
			t.Errorf("%q is %q, then %v (%v)", s, k, again, err)
		}
		if strings.ContainsAny(k, "\x00 \n") || strings.Contains(repository(k), "..") {
			t.Errorf("%q is accepted as %q", s, k)
		}
		new(catalog).resolve(s)
	})
}
