package artifacts

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// receiver reads the messages of one download stream.
type receiver struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
	in     downloadIn
}

func (c *Client) receive(ctx context.Context, request *artifactsv1.DownloadRequest) (*receiver, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.conn.NewStream(ctx, downloadStream, artifactsv1.ArtifactsService_Download_FullMethodName, streamOptions()...)
	if err == nil {
		if err = stream.SendMsg(request); err == io.EOF {
			err = stream.RecvMsg(&downloadIn{})
		}
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &receiver{stream: stream, cancel: cancel}, nil
}

// next gives the next message, which is good until the one after. An answer that was cut off is a lost connection.
func (r *receiver) next() (*downloadIn, error) {
	err := r.stream.RecvMsg(&r.in)
	if err == io.EOF {
		err = status.Error(codes.Unavailable, "the download was cut off")
	}
	return &r.in, err
}

// end reads the status that follows the last message.
func (r *receiver) end() error {
	switch err := r.stream.RecvMsg(&r.in); err {
	case io.EOF:
		return nil
	case nil:
		return protocolError("more behind the last message")
	default:
		return err
	}
}

// close ends the stream, wherever it is.
func (r *receiver) close() { r.cancel() }
