package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newImageCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "image", Short: "Manage images"},
		newImageListCommand(c),
		newImagePullCommand(c),
		newImageLoadCommand(c),
		newImageSaveCommand(c),
		newImageImportCommand(c),
		newImageInspectCommand(c),
		newImageTagCommand(c),
		newImagePruneCommand(c),
		newImageRemoveCommand(c),
	)
}

// imageConfig is what we read of an OCI image's configuration.
type imageConfig struct {
	Author  string       `json:"author"`
	Config  imageRunView `json:"config"`
	History []any        `json:"history"`
}

// comment is what was said when the image was made: with its last layer.
func (i *imageConfig) comment() string {
	if len(i.History) == 0 {
		return ""
	}
	last, _ := i.History[len(i.History)-1].(map[string]any)
	said, _ := last["comment"].(string)
	return said
}

func (c *cli) lookupImage(ctx context.Context, name string) (any, error) {
	return pointed(c.imageView(ctx, name))
}

func (c *cli) imageView(ctx context.Context, name string) (*imageObjectView, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Images.Inspect(ctx, &api.InspectImageRequest{Ref: name})
	if err != nil {
		return nil, err
	}
	return imageObject(r.Image)
}

// imageObject has the shape of Docker's image inspect.
func imageObject(i *api.Image) (*imageObjectView, error) {
	var conf imageConfig
	if len(i.Config) > 0 {
		if err := json.Unmarshal(i.Config, &conf); err != nil {
			return nil, fmt.Errorf("read the configuration of image %s: %w", i.Id, err)
		}
	}
	return &imageObjectView{
		ID: i.Id, RepoTags: orNone(i.Tags), RepoDigests: orNone(i.Digests), Created: rfc3339(i.CreatedAt), Author: conf.Author, Comment: conf.comment(),
		Config: conf.Config, Architecture: i.Platform.GetArchitecture(), Os: i.Platform.GetOs(), Size: i.Size,
		RootFS: layersView{Type: "layers", Layers: orNone(i.Layers)}, ManifestDigest: i.ManifestDigest,
	}, nil
}

// imageLabels are the labels in an image's configuration.
func imageLabels(i *api.Image) map[string]string {
	var conf struct {
		Config struct{ Labels map[string]string }
	}
	_ = json.Unmarshal(i.Config, &conf)
	return conf.Config.Labels
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// splitTag cuts NAME:TAG; the colon of a registry's port is not a tag's.
func splitTag(ref string) (name, tag string) {
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		return ref[:i], ref[i+1:]
	}
	return ref, "<none>"
}

// parsePlatform reads OS[/ARCH[/VARIANT]].
func parsePlatform(s string) (*api.Platform, error) {
	if s == "" {
		return nil, nil
	}
	if s == "linux" { // of the host's kind
		return nil, nil
	}
	parts := strings.Split(s, "/")
	if parts[0] != "linux" || len(parts) != 2 || parts[1] == "" {
		return nil, fmt.Errorf("unsupported platform '%s': use linux/ARCH, for example linux/arm64", s)
	}
	return &api.Platform{Os: parts[0], Architecture: parts[1]}, nil
}
