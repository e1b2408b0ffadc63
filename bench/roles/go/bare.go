package main

import (
	"context"
	"io"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

const (
	chunkBytes = 1 << 20
	// As our client has them.
	streamWindowBytes     = 4 << 20
	connectionWindowBytes = 8 << 20
	socketBufferBytes     = 256 << 10
)

// dial opens the connection that the generated stubs use, with windows as wide as our client's.
func dial() (*grpc.ClientConn, error) {
	return grpc.NewClient(os.Getenv("DSTACK_ARTIFACTS_URL"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(streamWindowBytes), grpc.WithInitialConnWindowSize(connectionWindowBytes),
		grpc.WithReadBufferSize(socketBufferBytes), grpc.WithWriteBufferSize(socketBufferBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*chunkBytes)))
}

// bareUpload sends one buffer again and again, by the generated stub.
func bareUpload(ctx context.Context, size int64) (int64, error) {
	conn, err := dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := artifactsv1.NewArtifactsServiceClient(conn).Upload(ctx)
	if err != nil {
		return 0, err
	}
	header := &artifactsv1.EntryHeader{Path: "f", Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Size: new(uint64(size))}
	requests := []*artifactsv1.UploadRequest{
		{Message: &artifactsv1.UploadRequest_Start{Start: &artifactsv1.UploadStart{UploadId: "0123456789abcdef"}}},
		{Message: &artifactsv1.UploadRequest_File{File: header}},
	}
	for _, request := range requests {
		if err := stream.Send(request); err != nil {
			return 0, err
		}
	}
	chunk := make([]byte, chunkBytes)
	for left := size; left > 0; left -= chunkBytes {
		if err := stream.Send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Chunk{Chunk: chunk[:min(left, chunkBytes)]}}); err != nil {
			return 0, err
		}
	}
	requests = []*artifactsv1.UploadRequest{
		{Message: &artifactsv1.UploadRequest_FileEnd{FileEnd: &artifactsv1.FileEnd{Size: uint64(size)}}},
		{Message: &artifactsv1.UploadRequest_Finish{Finish: &artifactsv1.UploadFinish{Files: 1, Bytes: uint64(size)}}},
	}
	for _, request := range requests {
		if err := stream.Send(request); err != nil {
			return 0, err
		}
	}
	response, err := stream.CloseAndRecv()
	return int64(response.GetBytes()), err
}

// bareDownload counts bytes and drops them, by the generated stub.
func bareDownload(ctx context.Context, run, path string) (int64, error) {
	conn, err := dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := artifactsv1.NewArtifactsServiceClient(conn).Download(ctx, &artifactsv1.DownloadRequest{
		Reference: &artifactsv1.Reference{Target: &artifactsv1.Reference_Run{Run: &artifactsv1.RunReference{Name: run}}}, Path: path,
	})
	if err != nil {
		return 0, err
	}
	var bytes int64
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return bytes, nil
		}
		if err != nil {
			return 0, err
		}
		bytes += int64(len(response.GetChunk()))
	}
}
