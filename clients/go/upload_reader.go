package artifacts

import (
	"context"
	"hash/crc32"
	"io"

	"google.golang.org/grpc/mem"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

const (
	// Chunks of a reader that can't seek which are kept, in case they must be sent again: more than the connection's window and a
	// server's four data objects of 16 MiB hold.
	keptChunks = 80
	// Chunks that are read before they are sent.
	chunksAhead = 2
)

// readerBody is one file that comes from a reader.
type readerBody struct {
	path   string
	report func(Progress)
	reader io.Reader
	// Reads the reader; nil before that begins.
	pump *pump
	// Starts the reader over, if it can.
	rewind func() error
	// The last chunks, ending at byte `read`.
	kept []mem.Buffer
	read int64
	crc  uint32
	over bool
}

func newReaderBody(path string, reader io.Reader, report func(Progress)) *readerBody {
	b := &readerBody{path: path, report: report, reader: reader}
	if seeker, ok := reader.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			b.rewind = func() error {
				_, err := seeker.Seek(start, io.SeekStart)
				return err
			}
		}
	}
	return b
}

// next gives the next chunk, io.EOF at the end.
func (b *readerBody) next(ctx context.Context) (mem.Buffer, error) {
	if b.pump == nil {
		b.pump = startPump(b.reader)
	}
	select {
	case chunk := <-b.pump.chunks:
		return chunk.buffer, chunk.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// startOver has a reader that can seek give its first bytes next.
func (b *readerBody) startOver(ctx context.Context) error {
	if err := b.pump.stop(ctx); err != nil {
		return err
	}
	if err := b.rewind(); err != nil {
		return failf("%s can't be read again: %w", quote(b.path), err)
	}
	b.pump, b.read, b.crc, b.over = nil, 0, 0, false
	return nil
}

// close ends the reading. Whoever can seek in the reader may read it again himself, so that a Read that is under way is waited for, unless
// ctx is done; another reader may never return from it.
func (b *readerBody) close(ctx context.Context) {
	if b.pump == nil {
		return
	}
	if b.rewind == nil {
		b.pump.cancel()
		return
	}
	_ = b.pump.stop(ctx)
}

func (b *readerBody) skipped() int64 { return 0 }

func (b *readerBody) send(ctx context.Context, s *sender) error {
	s.meter.report = b.report
	s.meter.Path = b.path
	persisted, err := s.persisted.find(b.path)
	if err != nil {
		return err
	}
	again := max(s.upload.tries[b.path], persisted.GetTry())
	s.upload.begins(b.path, again)
	var spans []*artifactsv1.ByteSpan
	if persisted.GetTry() == again {
		spans = persisted.GetSpans()
	}
	if err := s.header(&artifactsv1.EntryHeader{Path: b.path, Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Try: again}); err != nil {
		return err
	}
	if b.rewind != nil && b.pump != nil {
		if err := b.startOver(ctx); err != nil {
			return err
		}
	}
	offset, err := b.sendKept(s, spans)
	if err != nil {
		return err
	}
	for !b.over {
		buffer, err := b.next(ctx)
		if err == io.EOF {
			b.over = true
			break
		}
		if err != nil {
			return failf("reading what becomes %s: %w", quote(b.path), err)
		}
		b.crc = crc32.Update(b.crc, castagnoli, buffer.ReadOnlyData())
		b.read += int64(buffer.Len())
		if b.rewind == nil {
			b.keep(buffer)
		}
		if offset, err = sendMissing(s, buffer, offset, spans); err != nil {
			return err
		}
	}
	defer s.meter.done()
	return s.end(b.read, b.crc)
}

// sendKept sends again what was read before and isn't persisted.
func (b *readerBody) sendKept(s *sender, spans []*artifactsv1.ByteSpan) (int64, error) {
	start := b.read
	for _, buffer := range b.kept {
		start -= int64(buffer.Len())
	}
	offset := int64(0)
	if start > 0 {
		if len(spans) == 0 || spans[0].GetOffset() > 0 || int64(spans[0].GetLength()) < start {
			return 0, failf("%s can't be continued: the server lost bytes that were read too long ago", quote(b.path))
		}
		if err := s.skip(int64(spans[0].GetLength())); err != nil {
			return 0, err
		}
		s.meter.add(int(start))
		offset = start
	}
	for _, buffer := range b.kept {
		var err error
		buffer.Ref()
		if offset, err = sendMissing(s, buffer, offset, spans); err != nil {
			return 0, err
		}
	}
	return offset, nil
}

// keep holds on to a buffer that is about to be sent.
func (b *readerBody) keep(buffer mem.Buffer) {
	buffer.Ref()
	b.kept = append(b.kept, buffer)
	if len(b.kept) > keptChunks {
		b.kept[0].Free()
		b.kept = append(b.kept[:0], b.kept[1:]...)
	}
}

// readChunk is what a reader gave.
type readChunk struct {
	buffer mem.Buffer
	err    error
}

// pump reads a reader in a goroutine of its own, until its end or until it is stopped.
type pump struct {
	chunks chan readChunk
	cancel context.CancelFunc
	ended  chan struct{}
}

func startPump(reader io.Reader) *pump {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pump{chunks: make(chan readChunk, chunksAhead), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for {
			buffer, err := readSome(ctx, reader)
			select {
			case p.chunks <- readChunk{buffer, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

// stop waits until nothing reads the reader any more, or until ctx is done.
func (p *pump) stop(ctx context.Context) error {
	p.cancel()
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readSome reads a full chunk, or what is left or came before ctx was done. It doesn't use io.ReadFull, whose io.ErrUnexpectedEOF may be
// the reader's own: that its source was cut off.
func readSome(ctx context.Context, reader io.Reader) (mem.Buffer, error) {
	bytes := chunkPool.Get(chunkBytes)
	var n int
	var err error
	for n < chunkBytes && err == nil && ctx.Err() == nil {
		var some int
		some, err = reader.Read((*bytes)[n:])
		n += some
	}
	if err != nil && (err != io.EOF || n == 0) {
		chunkPool.Put(bytes)
		return nil, err
	}
	*bytes = (*bytes)[:n]
	return mem.NewBuffer(bytes, chunkPool), nil
}
