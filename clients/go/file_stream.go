package artifacts

import (
	"context"
	"hash/crc32"
	"io"

	"google.golang.org/grpc/mem"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// fileStream gives the bytes of one file from an offset to an end, over as many calls as it takes.
type fileStream struct {
	client      *Client
	ctx         context.Context
	at          pinned
	entry       Entry
	offset, end int64
	retry       *retrier
	receiver    *receiver
	// Of the bytes of this call, and of all of them.
	partCRC, crc uint32
	isWhole      bool
}

func (f *File) stream(offset, end int64) *fileStream {
	return &fileStream{
		client: f.client, ctx: f.ctx, at: f.at, entry: f.entry, offset: offset, end: end, retry: f.client.newRetrier(),
		isWhole: offset == 0 && end == f.entry.Size,
	}
}

// next gives the next bytes, which the caller frees, and io.EOF behind the last. The last ones come when the checksum was right.
func (s *fileStream) next() (mem.BufferSlice, error) {
	if s.offset == s.end {
		return nil, io.EOF
	}
	for {
		chunk, err := s.receive()
		if err == nil && len(chunk) > 0 {
			s.retry.progressed()
			if s.offset < s.end {
				return chunk, nil
			}
			if err := s.check(); err != nil {
				chunk.Free()
				return nil, err
			}
			return chunk, nil
		}
		if err != nil {
			s.close()
			if err := s.retry.wait(s.ctx, err); err != nil {
				return nil, err
			}
		}
	}
}

// receive takes one message; it gives bytes if that has some.
func (s *fileStream) receive() (mem.BufferSlice, error) {
	if s.receiver == nil {
		request := &artifactsv1.DownloadRequest{Project: s.client.project, Reference: s.at.ref.proto(), Path: s.entry.Path}
		// A whole file is asked for without a range.
		if s.offset > 0 || !s.isWhole {
			request.Range = &artifactsv1.ByteRange{Offset: uint64(s.offset), Length: new(uint64(s.end - s.offset))}
		}
		receiver, err := s.client.receive(s.ctx, request)
		if err != nil {
			return nil, err
		}
		s.receiver, s.partCRC = receiver, 0
	}
	in, err := s.receiver.next()
	if err != nil {
		return nil, err
	}
	if chunk, ok := in.bytes(); ok {
		if s.offset+int64(chunk.Len()) > s.end {
			chunk.Free()
			return nil, protocolError("more bytes of " + quote(s.entry.Path) + " than were asked for")
		}
		for _, buffer := range chunk {
			s.partCRC = crc32.Update(s.partCRC, castagnoli, buffer.ReadOnlyData())
			s.crc = crc32.Update(s.crc, castagnoli, buffer.ReadOnlyData())
		}
		s.offset += int64(chunk.Len())
		return chunk, nil
	}
	switch m := in.message.GetMessage().(type) {
	case *artifactsv1.DownloadResponse_Start:
		return nil, s.at.see(m.Start.GetRun(), m.Start.GetCommit())
	case *artifactsv1.DownloadResponse_File:
		if h := m.File; h.GetPath() != s.entry.Path || int64(h.GetSize()) != s.entry.Size || h.GetCrc32C() != s.entry.CRC32C {
			return nil, protocolError("another file than " + quote(s.entry.Path))
		}
		return nil, nil
	}
	return nil, protocolError("the end of " + quote(s.entry.Path) + " before its last byte")
}

// check compares checksums when all bytes are there. If the connection is lost right then, the checksum of a whole file is known anyway.
func (s *fileStream) check() error {
	defer s.close()
	in, err := s.receiver.next()
	end := in.message.GetFileEnd()
	isRight := err != nil || end != nil && end.GetCrc32C() == s.partCRC
	if s.isWhole && s.crc != s.entry.CRC32C || !isRight {
		return damagedError(s.entry.Path).failure()
	}
	return nil
}

func (s *fileStream) close() {
	if s.receiver != nil {
		s.receiver.close()
		s.receiver = nil
	}
}
