//go:build linux

package node

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/shoal-dev/shoal/proto/api"
)

// behind is a manager's service behind the proxy.
type behind struct {
	api.UnimplementedControlServer
	watching chan context.Context
}

// GetNode sends the name back, long names as many times as it takes to pass grpc's own limit.
func (behind) GetNode(ctx context.Context, r *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	grpc.SetTrailer(ctx, metadata.Pairs("said", r.Ref[:1]))
	if r.Ref == "none" {
		return nil, status.Error(codes.NotFound, "no such node: none")
	}
	return &api.GetNodeResponse{Node: &api.Node{Id: r.Ref}}, nil
}

// Watch sends three messages and then waits for its end.
func (b behind) Watch(_ *api.WatchRequest, s grpc.ServerStreamingServer[api.WatchMessage]) error {
	for range 3 {
		if err := s.Send(&api.WatchMessage{}); err != nil {
			return err
		}
	}
	b.watching <- s.Context()
	<-s.Context().Done()
	return s.Context().Err()
}

// proxied is a client whose requests are passed on to b, or refused with err.
func proxied(t *testing.T, b behind, err error) api.ControlClient {
	t.Helper()
	return api.NewControlClient(proxiedConn(t, b, err))
}

func proxiedConn(t *testing.T, b behind, err error) *grpc.ClientConn {
	t.Helper()
	pipe := newPipeListener()
	inner := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))
	api.RegisterControlServer(inner, b)
	go inner.Serve(pipe)
	conn, dialErr := pipe.connect()
	check(t, dialErr)
	l, lErr := listenUnix(filepath.Join(t.TempDir(), "s"))
	check(t, lErr)
	outer := grpc.NewServer(grpc.ForceServerCodecV2(newCodec()), grpc.MaxRecvMsgSize(maxMessage),
		grpc.UnknownServiceHandler(passOn(func() (*grpc.ClientConn, error) { return conn, err })))
	go outer.Serve(l)
	client, cErr := grpc.NewClient("unix://"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	check(t, cErr)
	t.Cleanup(func() {
		client.Close()
		outer.Stop()
		conn.Close()
		inner.Stop()
	})
	return client
}

func TestProxyPassesOn(t *testing.T) {
	c := proxied(t, behind{}, nil)
	for _, name := range []string{"short", strings.Repeat("long", 4<<20)} {
		var trailer metadata.MD
		r, err := c.GetNode(t.Context(), &api.GetNodeRequest{Ref: name}, grpc.Trailer(&trailer))
		if err != nil || r.Node.Id != name || len(trailer.Get("said")) != 1 {
			t.Errorf("%.10s: error %v, trailer %v", name, err, trailer)
		}
	}
	_, err := c.GetNode(t.Context(), &api.GetNodeRequest{Ref: "none"})
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no such node: none" {
		t.Errorf("an error came back as %v", err)
	}
	_, err = proxied(t, behind{}, status.Error(codes.FailedPrecondition, "a worker")).GetNode(t.Context(), &api.GetNodeRequest{Ref: "x"})
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "a worker" {
		t.Errorf("a refusal came back as %v", err)
	}
}

// TestNewerRequests: methods and fields that only a newer version has are refused, not passed on and not ignored.
func TestNewerRequests(t *testing.T) {
	if !ofSocket("/shoal.api.Containers/Teleport") || !ofSocket(api.Local_Info_FullMethodName) || ofSocket(api.Control_GetNode_FullMethodName) {
		t.Error("the socket's own services are not told from the managers'")
	}
	conn := proxiedConn(t, behind{}, nil)
	err := conn.Invoke(t.Context(), "/shoal.api.Containers/Teleport", &api.ContainerRequest{}, &api.ContainerResponse{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "unknown method Teleport") {
		t.Errorf("an unknown method: %v", err)
	}
	handled := 0
	handle := func(context.Context, any) (any, error) { handled++; return nil, nil }
	req := &api.CreateContainerRequest{Spec: &api.ContainerSpec{}}
	_, err = wholeRequest(t.Context(), req, nil, handle)
	check(t, err)
	req.Spec.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 3000, protowire.VarintType), 1))
	_, err = wholeRequest(t.Context(), req, nil, handle)
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "field 3000 of ContainerSpec") || handled != 1 {
		t.Errorf("an unknown field: %v; %d requests were handled", err, handled)
	}
}

func TestProxyEndsStreams(t *testing.T) {
	b := behind{watching: make(chan context.Context, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := proxied(t, b, nil).Watch(ctx, &api.WatchRequest{})
	check(t, err)
	for range 3 {
		_, err := s.Recv()
		check(t, err)
	}
	inner := <-b.watching
	cancel()
	<-inner.Done() // the one behind hears that nobody listens any more
	if _, err := s.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a cancelled stream ended with %v", err)
	}
}
