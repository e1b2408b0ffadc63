package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// nullServer answers what a client asks around a transfer, and does nothing with the bytes.
type nullServer struct {
	artifactsv1.UnimplementedArtifactsServiceServer
	header *artifactsv1.EntryHeader
}

func serve(size int64) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.InitialWindowSize(streamWindowBytes), grpc.InitialConnWindowSize(connectionWindowBytes),
		grpc.ReadBufferSize(socketBufferBytes), grpc.WriteBufferSize(socketBufferBytes), grpc.MaxRecvMsgSize(2*chunkBytes))
	artifactsv1.RegisterArtifactsServiceServer(server, &nullServer{header: &artifactsv1.EntryHeader{
		Path: "f", Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Size: new(uint64(size)), Mode: new(uint32(0o644)), Crc32C: new(crcOfZeros(size)),
	}})
	fmt.Println("unix://" + path)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	return server.Serve(listener)
}

func crcOfZeros(size int64) uint32 {
	table, chunk := crc32.MakeTable(crc32.Castagnoli), make([]byte, chunkBytes)
	var crc uint32
	for left := size; left > 0; left -= chunkBytes {
		crc = crc32.Update(crc, table, chunk[:min(left, chunkBytes)])
	}
	return crc
}

func (s *nullServer) GetServerInfo(context.Context, *artifactsv1.GetServerInfoRequest) (*artifactsv1.GetServerInfoResponse, error) {
	return &artifactsv1.GetServerInfoResponse{}, nil
}

func (s *nullServer) ListEntries(context.Context, *artifactsv1.ListEntriesRequest) (*artifactsv1.ListEntriesResponse, error) {
	entry := &artifactsv1.Entry{Path: s.header.Path, Type: s.header.Type, Size: s.header.Size, Mode: s.header.Mode, Crc32C: s.header.Crc32C}
	return &artifactsv1.ListEntriesResponse{
		Entries: []*artifactsv1.Entry{entry}, TotalFiles: 1, TotalBytes: s.header.GetSize(), Run: "null", Commit: 1,
	}, nil
}

func (s *nullServer) Upload(stream artifactsv1.ArtifactsService_UploadServer) error {
	response := &artifactsv1.UploadResponse{Run: "null", Commit: 1}
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(response)
		}
		if err != nil {
			return err
		}
		response.Bytes += uint64(len(request.GetChunk()))
		if request.GetFileEnd() != nil {
			response.Files++
		}
	}
}

func (s *nullServer) Download(_ *artifactsv1.DownloadRequest, stream artifactsv1.ArtifactsService_DownloadServer) error {
	size := s.header.GetSize()
	err := stream.Send(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Start{Start: &artifactsv1.DownloadStart{Run: "null", Commit: 1}}})
	if err == nil {
		err = stream.Send(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_File{File: s.header}})
	}
	chunk := make([]byte, chunkBytes)
	for left := size; left > 0 && err == nil; left -= min(left, chunkBytes) {
		err = stream.Send(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Chunk{Chunk: chunk[:min(left, chunkBytes)]}})
	}
	if err == nil {
		end := &artifactsv1.FileEnd{Size: size, Crc32C: s.header.GetCrc32C()}
		err = stream.Send(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_FileEnd{FileEnd: end}})
	}
	if err == nil {
		finish := &artifactsv1.DownloadFinish{Files: 1, Bytes: size}
		err = stream.Send(&artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Finish{Finish: finish}})
	}
	return err
}
