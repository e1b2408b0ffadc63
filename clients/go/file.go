package artifacts

import (
	"context"
	"io"
	"io/fs"

	"google.golang.org/grpc/mem"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// File is one file of a run or a tag, open for reading. It is an [io.ReadSeekCloser], an [io.ReaderAt], an [io.WriterTo] and an [fs.File].
// Read, Seek and WriteTo may be called by one goroutine at a time, ReadAt and Stat by any number beside it.
type File struct {
	client *Client
	ctx    context.Context
	cancel context.CancelFunc
	at     pinned
	entry  Entry
	// How it was asked for, which may be by a link.
	name string
	// Where the next Read begins, what gives the bytes from there, those that it gave already, and how many of the first buffer are used.
	offset  int64
	current *fileStream
	ready   mem.BufferSlice
	used    int
}

// Open opens one file for reading. It keeps to the commit that it was opened at, and takes a lost connection up again. The file's
// checksum is compared before a Read that began at the first byte gives the last one; a part's, before its last. When ctx is done, reads
// fail too.
//
// Errors are of type [*ArtifactsDownloadError], of which [*RunNotFoundError] and [*TagNotFoundError] are two; [ReasonPathNotFound]: nothing is
// at artifactPath.
func (c *Client) Open(ctx context.Context, ref Ref, artifactPath string) (*File, error) {
	path, err := checkedPath(artifactPath)
	if err != nil {
		return nil, opDownload.wrap(err)
	}
	if path == "" {
		return nil, opDownload.wrap(failf("the root is a folder: name a file"))
	}
	at := pinned{ref: ref}
	page, err := c.firstPage(ctx, &retrier{client: c}, &at, &artifactsv1.ListEntriesRequest{Prefix: path, PageSize: 1})
	if err != nil {
		return nil, opDownload.wrap(err)
	}
	entry, ok := entryAt(page, path)
	if !ok || !entry.Mode.IsRegular() {
		return nil, opDownload.wrap(failf("%s is not a file", quote(path)))
	}
	return c.newFile(ctx, at, entry, path), nil
}

func (c *Client) newFile(ctx context.Context, at pinned, entry Entry, name string) *File {
	ctx, cancel := context.WithCancel(ctx)
	return &File{client: c, ctx: ctx, cancel: cancel, at: at, entry: entry, name: name}
}

// firstPage gives the first page of a listing and pins at to its commit.
func (c *Client) firstPage(
	ctx context.Context, retry *retrier, at *pinned, request *artifactsv1.ListEntriesRequest,
) (page *artifactsv1.ListEntriesResponse, err error) {
	for page, err = range c.entryPages(ctx, retry, at, request) {
		break
	}
	return page, err
}

// entryAt finds the entry at a path in a listing of it: a file or a link lists itself, a folder what is in it.
func entryAt(page *artifactsv1.ListEntriesResponse, path string) (Entry, bool) {
	if entries := page.GetEntries(); len(entries) > 0 && entries[0].GetPath() == path {
		return entryOf(entries[0]), true
	}
	return Entry{}, false
}

// DownloadWriter writes the bytes of one file to writer, without touching the disk, as [File.WriteTo] does. The result's Bytes are those
// of the file.
//
// Errors are of type [*ArtifactsDownloadError]; they wrap an error of writer.
func (c *Client) DownloadWriter(ctx context.Context, ref Ref, artifactPath string, writer io.Writer) (*DownloadResult, error) {
	file, err := c.Open(ctx, ref, artifactPath)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	bytes, err := file.WriteTo(writer)
	if err != nil {
		return nil, err
	}
	return &DownloadResult{Run: file.at.run, Commit: file.at.commit, Files: 1, Bytes: bytes}, nil
}

// Entry describes the file.
func (f *File) Entry() Entry { return f.entry }

// Stat describes the file; its Sys is the [Entry]. It gives no error.
func (f *File) Stat() (fs.FileInfo, error) { return entryInfo{f.name, f.entry}, nil }

// Read gives the next bytes, and io.EOF behind the last. Other errors are of type [*ArtifactsDownloadError].
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.fill(); err != nil {
		return 0, err
	}
	n := copy(p, f.bytes())
	f.advance(n)
	return n, nil
}

// WriteTo writes the bytes from the current offset to the end. Errors are of type [*ArtifactsDownloadError]; they wrap an error of writer.
func (f *File) WriteTo(writer io.Writer) (int64, error) {
	start := f.offset
	for {
		err := f.fill()
		if err == io.EOF {
			return f.offset - start, nil
		}
		if err != nil {
			return f.offset - start, err
		}
		n, err := writer.Write(f.bytes())
		f.advance(n)
		if err != nil {
			return f.offset - start, opDownload.wrap(failf("writing what comes of %s: %w", quote(f.entry.Path), err))
		}
	}
}

// fill has at least one byte ready, or gives the error.
func (f *File) fill() error {
	for len(f.ready) == 0 {
		if f.ctx.Err() != nil {
			return opDownload.wrap(cancelled(f.ctx))
		}
		if f.offset >= f.entry.Size {
			return io.EOF
		}
		if f.current == nil {
			f.current = f.stream(f.offset, f.entry.Size)
		}
		chunk, err := f.current.next()
		if err != nil {
			f.current = nil
			return opDownload.wrap(err)
		}
		f.ready = chunk
	}
	return nil
}

// bytes are those that can be used at once, once filled.
func (f *File) bytes() []byte { return f.ready[0].ReadOnlyData()[f.used:] }

func (f *File) advance(n int) {
	f.offset += int64(n)
	if f.used += n; f.used == f.ready[0].Len() {
		f.ready[0].Free()
		f.ready, f.used = f.ready[1:], 0
	}
}

// drop lets go of what was received.
func (f *File) drop() {
	f.ready.Free()
	f.ready, f.used = nil, 0
	if f.current != nil {
		f.current.close()
		f.current = nil
	}
}

// Seek sets where the next Read begins; behind the end is allowed. It gives an error for a place before the start.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.entry.Size
	case io.SeekStart:
	default:
		return 0, opDownload.wrap(failf("there is no way %d to seek", whence))
	}
	if offset < 0 {
		return 0, opDownload.wrap(failf("%s has no byte before its first", quote(f.entry.Path)))
	}
	if offset != f.offset {
		f.drop()
		f.offset = offset
	}
	return offset, nil
}

// ReadAt fills p with the bytes from offset on, by a call of its own. At the file's end it gives fewer, and io.EOF; other errors are
// of type [*ArtifactsDownloadError].
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, opDownload.wrap(failf("%s has no byte before its first", quote(f.entry.Path)))
	}
	length := min(int64(len(p)), max(f.entry.Size-offset, 0))
	s := f.stream(offset, offset+length)
	defer s.close()
	n := 0
	for int64(n) < length {
		chunk, err := s.next()
		if err != nil {
			return n, opDownload.wrap(err)
		}
		n += chunk.CopyTo(p[n:])
		chunk.Free()
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close ends reading. It gives no error.
func (f *File) Close() error {
	f.drop()
	f.cancel()
	return nil
}
