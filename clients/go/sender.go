package artifacts

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/timestamppb"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

var (
	errAnswered = errors.New("the server answered before the upload was sent")
	errChanged  = errors.New("the file changed while it was read")
)

// sender writes the messages of one try.
type sender struct {
	upload    *upload
	stream    grpc.ClientStream
	persisted *persistedFiles
	// What the server answered before everything was sent: an upload that was committed gets its first answer again.
	answer       *artifactsv1.UploadResponse
	files, bytes uint64
	meter        meter
}

func newSender(ctx context.Context, u *upload, stream grpc.ClientStream, persisted *persistedFiles) *sender {
	if persisted != nil {
		persisted.ctx = ctx
	}
	return &sender{
		upload: u, stream: stream, persisted: persisted, meter: meter{Progress: Progress{TotalFiles: -1, TotalBytes: -1}},
	}
}

// send gives a message to the connection; it waits while the server takes no more.
func (s *sender) send(message any) error {
	err := s.stream.SendMsg(message)
	if err != io.EOF {
		return err
	}
	// The stream is over; its status says why.
	if s.answer, err = s.receive(); err != nil {
		return err
	}
	return errAnswered
}

// receive waits for the server's answer.
func (s *sender) receive() (*artifactsv1.UploadResponse, error) {
	response := &artifactsv1.UploadResponse{}
	if err := s.stream.RecvMsg(response); err != nil {
		return nil, err
	}
	// Only the end of the stream says that the call went well.
	switch err := s.stream.RecvMsg(&artifactsv1.UploadResponse{}); err {
	case io.EOF:
		return response, nil
	case nil:
		return nil, protocolError("two answers to one upload")
	default:
		return nil, err
	}
}

func (s *sender) header(h *artifactsv1.EntryHeader) error {
	return s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_File{File: h}})
}

// chunk sends bytes, and lets go of the buffer.
func (s *sender) chunk(buffer mem.Buffer) error {
	s.meter.add(buffer.Len())
	return s.send(&chunkOut{buffer})
}

func (s *sender) skip(length int64) error {
	return s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Skip{Skip: uint64(length)}})
}

func (s *sender) end(size int64, crc uint32) error {
	s.files++
	s.bytes += uint64(size)
	s.meter.Files++
	s.meter.add(0)
	return s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_FileEnd{
		FileEnd: &artifactsv1.FileEnd{Size: uint64(size), Crc32C: crc},
	}})
}

func (s *sender) entry(e localEntry) error {
	s.meter.Path = e.path
	h := &artifactsv1.EntryHeader{Path: e.path, Type: e.kind, Mtime: timestamppb.New(e.mtime)}
	switch e.kind {
	case artifactsv1.EntryType_ENTRY_TYPE_FOLDER:
		h.Mode = new(uint32(e.mode))
		return s.header(h)
	case artifactsv1.EntryType_ENTRY_TYPE_LINK:
		h.LinkTarget = e.target
		s.files++
		s.meter.Files++
		return s.header(h)
	}
	return s.file(e.path, e.local)
}
