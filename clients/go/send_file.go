package artifacts

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"syscall"

	"google.golang.org/protobuf/types/known/timestamppb"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// changingReads is how often a file that changes while it is read is read in all.
const changingReads = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// file sends a file, once more if it changes meanwhile.
func (s *sender) file(path, local string) error {
	persisted, err := s.persisted.find(path)
	if err != nil {
		return err
	}
	for reads := 1; ; reads++ {
		err := s.fileOnce(path, local, persisted)
		if err != errChanged {
			return err
		}
		if reads == changingReads {
			return failf("%s changed while it was read, twice: upload it when nothing writes to it", quote(local))
		}
		s.upload.tries[path]++
		persisted = nil
	}
}

// fileOnce sends a file as it is now, as a new try if what is persisted is of another content.
func (s *sender) fileOnce(path, local string, persisted *artifactsv1.PersistedFile) error {
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
	again := s.upload.tries[path]
	if persisted != nil && persisted.GetTry() >= again {
		again = persisted.GetTry()
		same := persisted.Size != nil && persisted.GetSize() == uint64(size) && persisted.GetMtime().AsTime().Equal(mtime.AsTime())
		if same {
			spans = persisted.GetSpans()
		} else {
			again++
		}
	}
	s.upload.begins(path, again)
	before := s.meter.Bytes
	err = s.header(&artifactsv1.EntryHeader{
		Path: path, Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Size: new(uint64(size)), Mode: new(uint32(info.Mode().Perm())),
		Mtime: mtime, Try: again,
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
	next, stop := readAhead(f, size)
	defer stop()
	for offset := int64(0); offset < size; {
		chunk := next()
		if chunk.err != nil {
			return 0, chunk.err
		}
		crc = chunk.crc
		if offset, err = sendMissing(s, chunk.buffer, offset, spans); err != nil {
			return 0, err
		}
	}
	return crc, nil
}
