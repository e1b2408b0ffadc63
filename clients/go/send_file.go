package artifacts

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"syscall"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/timestamppb"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// changingReads is how often a file that changes while it is read is read in all.
const changingReads = 2

// smallBytes is up to where a chunk gets a buffer of its own size instead of one from the pool.
const smallBytes = 32 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// file sends a file, once more if it changes meanwhile.
func (s *sender) file(path, local string) error {
	persisted, err := s.persisted.find(path)
	if err != nil {
		return err
	}
	again := s.upload.damaged[path]
	for reads := 1; ; reads++ {
		err := s.fileOnce(path, local, persisted, &again)
		if err != errChanged {
			return err
		}
		if reads == changingReads {
			return failf("%s changed while it was read, twice: upload it when nothing writes to it", quote(local))
		}
		again++
		persisted = nil
	}
}

// fileOnce sends a file as it is now. It raises `again` if what is persisted is of another content.
func (s *sender) fileOnce(path, local string, persisted *artifactsv1.PersistedFile, again *uint32) error {
	// Not blocking, should a FIFO have taken the file's place.
	f, err := os.OpenFile(local, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return localFailure(local, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return localFailure(local, err)
	}
	if !info.Mode().IsRegular() {
		return failf("%s changed while it was read: it is no file any more", quote(local))
	}
	size, mtime := info.Size(), timestamppb.New(info.ModTime())
	var spans []*artifactsv1.ByteSpan
	if persisted != nil && persisted.GetTry() >= *again {
		*again = persisted.GetTry()
		same := persisted.Size != nil && persisted.GetSize() == uint64(size) && persisted.GetMtime().AsTime().Equal(mtime.AsTime())
		if same {
			spans = persisted.GetSpans()
		} else {
			*again++
		}
	}
	before := s.meter.Bytes
	err = s.header(&artifactsv1.EntryHeader{
		Path: path, Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Size: new(uint64(size)), Mode: new(uint32(info.Mode().Perm())),
		Mtime: mtime, Try: *again,
	})
	if err != nil {
		return err
	}
	crc, err := s.contents(f, size, spans)
	if err == nil {
		var after os.FileInfo
		if after, err = f.Stat(); err == nil && (after.Size() != size || !after.ModTime().Equal(info.ModTime())) {
			err = errChanged
		}
	}
	if err == errChanged {
		s.meter.Bytes = before
		return err
	}
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return localFailure(local, err)
	}
	if err != nil {
		return err
	}
	return s.end(size, crc)
}

// contents sends the first size bytes of f but for the spans, which it reads too, for the checksum of the whole.
func (s *sender) contents(f io.Reader, size int64, spans []*artifactsv1.ByteSpan) (crc uint32, err error) {
	for offset := int64(0); offset < size; {
		spans = spansFrom(spans, offset)
		length := size - offset
		held := len(spans) > 0 && int64(spans[0].GetOffset()) <= offset
		if held {
			length = min(length, int64(spans[0].GetOffset()+spans[0].GetLength())-offset)
			if crc, err = s.readOver(f, length, crc); err == nil {
				err = s.skip(length)
			}
		} else {
			if len(spans) > 0 {
				length = min(length, int64(spans[0].GetOffset())-offset)
			}
			length = min(length, chunkBytes)
			var buffer mem.Buffer
			if buffer, err = readBuffer(f, int(length)); err == nil {
				crc = crc32.Update(crc, castagnoli, buffer.ReadOnlyData())
				err = s.chunk(buffer)
			}
		}
		if err != nil {
			return 0, err
		}
		offset += length
	}
	return crc, nil
}

// readOver reads bytes that are not sent.
func (s *sender) readOver(f io.Reader, length int64, crc uint32) (uint32, error) {
	for length > 0 {
		buffer, err := readBuffer(f, int(min(length, chunkBytes)))
		if err != nil {
			return 0, err
		}
		// Reading on is progress of its own.
		s.meter.add(buffer.Len())
		crc = crc32.Update(crc, castagnoli, buffer.ReadOnlyData())
		length -= int64(buffer.Len())
		buffer.Free()
	}
	return crc, nil
}

// readBuffer reads exactly length bytes. Fewer mean that the file has changed.
func readBuffer(f io.Reader, length int) (mem.Buffer, error) {
	var bytes *[]byte
	if length <= smallBytes {
		bytes = new(make([]byte, length))
	} else {
		bytes = chunkPool.Get(length)
	}
	if _, err := io.ReadFull(f, *bytes); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errChanged
		}
		return nil, err
	}
	return mem.NewBuffer(bytes, chunkPool), nil
}

// spansFrom drops the spans that end at or before offset.
func spansFrom(spans []*artifactsv1.ByteSpan, offset int64) []*artifactsv1.ByteSpan {
	for len(spans) > 0 && int64(spans[0].GetOffset()+spans[0].GetLength()) <= offset {
		spans = spans[1:]
	}
	return spans
}
