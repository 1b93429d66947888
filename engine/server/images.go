//go:build linux

package server

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/shoal-dev/shoal/engine/image"
	"github.com/shoal-dev/shoal/proto/api"
)

type images struct {
	api.UnimplementedImagesServer
	store *image.Store
}

func (s *images) List(ctx context.Context, _ *api.ListImagesRequest) (*api.ListImagesResponse, error) {
	list, err := s.store.List(ctx)
	return answer(&api.ListImagesResponse{Images: list}, err)
}

func (s *images) Inspect(ctx context.Context, r *api.InspectImageRequest) (*api.InspectImageResponse, error) {
	img, err := s.store.Get(ctx, r.Ref)
	return answer(&api.InspectImageResponse{Image: img}, err)
}

func (s *images) Tag(ctx context.Context, r *api.TagImageRequest) (*api.TagImageResponse, error) {
	return answer(&api.TagImageResponse{}, s.store.Tag(ctx, r.Source, r.Target))
}

func (s *images) Remove(ctx context.Context, r *api.RemoveImageRequest) (*api.RemoveImageResponse, error) {
	done, err := s.store.Remove(ctx, r.Ref, r.Force)
	return answer(&api.RemoveImageResponse{Untagged: done.Untagged, Deleted: done.Deleted}, err)
}

// reporter sends progress; what cannot be sent ends the call by its context.
func reporter(stream interface {
	Send(*api.ImageProgress) error
}) image.ProgressFunc {
	return func(p *api.ImageProgress) { stream.Send(p) }
}

// result is the last message.
func result(img *api.Image, status string) *api.ImageProgress {
	p := &api.ImageProgress{ImageId: img.Id, Status: status}
	if len(img.Tags) > 0 {
		p.Ref = img.Tags[0]
	}
	return p
}

func (s *images) Pull(r *api.PullImageRequest, stream grpc.ServerStreamingServer[api.ImageProgress]) error {
	img, err := s.store.Pull(stream.Context(), r.Ref, image.PullOptions{Auth: r.Auth, Platform: r.Platform}, reporter(stream))
	if err != nil {
		return toStatus(err)
	}
	p := result(img, "Pulled")
	p.Ref = r.Ref
	return stream.Send(p)
}

func (s *images) Load(stream grpc.BidiStreamingServer[api.ImageUpload, api.ImageProgress]) error {
	_, err := s.store.Load(stream.Context(), &upload[*api.ImageUpload]{stream: stream}, reporter(stream)) // which says what was loaded
	return toStatus(err)
}

func (s *images) Import(stream grpc.BidiStreamingServer[api.ImageUpload, api.ImageProgress]) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		first, err = &api.ImageUpload{}, nil
	}
	if err != nil {
		return err
	}
	img, err := s.store.Import(stream.Context(), &upload[*api.ImageUpload]{stream, first.Data}, image.ImportOptions{
		Ref: first.Ref, Changes: first.Changes, Message: first.Message, Platform: first.Platform,
	}, reporter(stream))
	if err != nil {
		return toStatus(err)
	}
	return stream.Send(result(img, "Imported"))
}

// dataWriter sends what is written in messages.
type dataWriter struct {
	stream grpc.ServerStreamingServer[api.ImageData]
}

// saveMessage is small enough for any receiver.
const saveMessage = 256 << 10

func (w dataWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), saveMessage)
		if err := w.stream.Send(&api.ImageData{Data: p[:n]}); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

func (s *images) Save(r *api.SaveImageRequest, stream grpc.ServerStreamingServer[api.ImageData]) error {
	return toStatus(s.store.Save(stream.Context(), r.Refs, dataWriter{stream}))
}
