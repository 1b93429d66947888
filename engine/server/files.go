//go:build linux

package server

import (
	"bufio"
	"context"
	"io"

	"google.golang.org/grpc"

	"github.com/shoal-dev/shoal/proto/api"
)

func (s *containers) Diff(ctx context.Context, r *api.ContainerRequest) (*api.DiffResponse, error) {
	changes, err := s.engine.Diff(ctx, r.Ref)
	return answer(&api.DiffResponse{Changes: changes}, err)
}

func (s *containers) StatPath(ctx context.Context, r *api.CopyFromRequest) (*api.PathStat, error) {
	st, err := s.engine.StatPath(ctx, r.Ref, r.Path, r.FollowLink)
	return answer(st, err)
}

// archiveWriter sends what is written in messages.
type archiveWriter struct {
	stream grpc.ServerStreamingServer[api.ArchiveChunk]
}

func (w archiveWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), saveMessage)
		if err := w.stream.Send(&api.ArchiveChunk{Data: p[:n]}); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// archived gathers what f writes to messages of some size: a tar is written in small pieces.
func archived(stream grpc.ServerStreamingServer[api.ArchiveChunk], f func(io.Writer) error) error {
	w := bufio.NewWriterSize(archiveWriter{stream}, saveMessage)
	if err := f(w); err != nil {
		return toStatus(err)
	}
	return w.Flush()
}

func (s *containers) Export(r *api.ContainerRequest, stream grpc.ServerStreamingServer[api.ArchiveChunk]) error {
	return archived(stream, func(w io.Writer) error { return s.engine.Export(stream.Context(), r.Ref, w) })
}

func (s *containers) CopyFrom(r *api.CopyFromRequest, stream grpc.ServerStreamingServer[api.ArchiveChunk]) error {
	return archived(stream, func(w io.Writer) error { return s.engine.CopyFrom(stream.Context(), r.Ref, r.Path, r.FollowLink, w) })
}

func (s *containers) CopyTo(stream grpc.ClientStreamingServer[api.CopyToRequest, api.CopyToResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := s.engine.CopyTo(stream.Context(), first, &upload[*api.CopyToRequest]{stream, first.Data}); err != nil {
		return toStatus(err)
	}
	return stream.SendAndClose(&api.CopyToResponse{})
}

func (s *containers) Commit(ctx context.Context, r *api.CommitRequest) (*api.CommitResponse, error) {
	id, err := s.engine.Commit(ctx, r)
	return answer(&api.CommitResponse{ImageId: id}, err)
}
