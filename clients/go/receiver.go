package artifacts

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// receiver reads the messages of one download stream.
type receiver struct {
	client *Client
	ctx    context.Context
	cancel context.CancelCauseFunc
	stream grpc.ClientStream
	// Ends the stream when nothing comes for too long.
	stall *time.Timer
	in    downloadIn
}

func (c *Client) receive(ctx context.Context, request *artifactsv1.DownloadRequest) (*receiver, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stream, err := c.conn.NewStream(ctx, &artifactsv1.ArtifactsService_ServiceDesc.Streams[downloadStream],
		artifactsv1.ArtifactsService_Download_FullMethodName, streamOptions()...)
	if err == nil {
		err = stream.SendMsg(request)
		if err == io.EOF {
			err = stream.RecvMsg(&downloadIn{})
		}
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	stall := time.AfterFunc(c.timeout, func() { cancel(errStalled) })
	stall.Stop()
	return &receiver{client: c, ctx: ctx, cancel: cancel, stream: stream, stall: stall}, nil
}

// next gives the next message, which is good until the one after. An answer that was cut off is a lost connection.
func (r *receiver) next() (*downloadIn, error) {
	r.stall.Reset(r.client.timeout)
	err := r.stream.RecvMsg(&r.in)
	r.stall.Stop()
	if err == nil {
		return &r.in, nil
	}
	if errors.Is(context.Cause(r.ctx), errStalled) {
		return nil, failf("the download stood still for %v: the server at %s sends nothing", r.client.timeout, r.client.url)
	}
	if err == io.EOF {
		err = status.Error(codes.Unavailable, "the download was cut off")
	}
	return nil, err
}

// end reads the status that follows the last message.
func (r *receiver) end() error {
	if err := r.stream.RecvMsg(&r.in); err != io.EOF && err != nil {
		return err
	}
	return nil
}

// close ends the stream, wherever it is.
func (r *receiver) close() {
	r.stall.Stop()
	r.cancel(nil)
}
