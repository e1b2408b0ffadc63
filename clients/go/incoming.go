package artifacts

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"time"

	"google.golang.org/grpc/mem"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

const (
	// A file up to this size is taken whole into memory and written by one of several goroutines.
	smallFileBytes = 128 << 10
	// Bytes of a larger file that are written at once.
	writeBytes = 256 << 10
)

// errDamaged says that a file is not what the server has; it may be so again when it comes again.
var errDamaged = errors.New("a file arrived damaged")

// incoming is a file on its way.
type incoming struct {
	path   string
	size   int64
	crc32c uint32
	mode   fs.FileMode
	mtime  time.Time
	tree   *tree
	folder *folder
	name   string
	// partial is the file's name until it is whole, file what it is written to; nil for small and for whole ones.
	partial string
	file    *os.File
	// whole says that the file is there already and only needs its mode and time.
	whole bool
	small []byte
	// Bytes that are in `file` or in `small`, their checksum, and bytes that wait in the tree's buffer.
	written int64
	crc     uint32
	waiting int
}

// begin prepares for a file's bytes; resumed is the same file as a lost connection left it, or nil.
func (t *tree) begin(h *artifactsv1.EntryHeader, resumed *incoming) (*incoming, error) {
	if h.Size == nil || h.Crc32C == nil || h.GetOffset() > h.GetSize() || h.GetSize() > 1<<62 {
		return nil, protocolError("a file without size and checksum")
	}
	if resumed != nil {
		if resumed.size == int64(h.GetSize()) && resumed.crc32c == h.GetCrc32C() && resumed.written == int64(h.GetOffset()) {
			return resumed, nil
		}
		resumed.abandon()
	}
	dir, name, err := t.place(h.GetPath())
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o644)
	if h.Mode != nil {
		mode = fs.FileMode(h.GetMode()) & fs.ModePerm
	}
	f := &incoming{
		path: h.GetPath(), size: int64(h.GetSize()), crc32c: h.GetCrc32C(), mode: mode,
		tree: t, folder: dir, name: name, partial: partialName(h.GetPath(), h.GetSize(), h.GetCrc32C()),
	}
	if h.GetMtime() != nil {
		f.mtime = h.GetMtime().AsTime()
	}
	switch {
	case h.GetOffset() > 0 && t.whole[f.path] && h.GetOffset() == h.GetSize():
		f.whole, f.written, f.crc = true, f.size, f.crc32c
	case h.GetOffset() == 0 && f.size <= smallFileBytes:
		f.small = make([]byte, 0, f.size)
	default:
		if info, err := dir.root.Lstat(name); err == nil && info.IsDir() {
			return nil, failf("%s is a folder here, but not in the artifact", quote(f.display()))
		}
		if err := f.openPartial(int64(h.GetOffset())); err != nil {
			return nil, err
		}
	}
	dir.refs.Add(1)
	return f, nil
}

func (f *incoming) display() string { return f.tree.display(f.tree.rel(f.path)) }

func (t *tree) writeBuffer() []byte {
	if t.buffer == nil {
		t.buffer = make([]byte, writeBytes)
	}
	return t.buffer
}

// write takes a chunk; the buffers stay the caller's.
func (f *incoming) write(chunk mem.BufferSlice) error {
	if f.written+int64(f.waiting)+int64(chunk.Len()) > f.size {
		return protocolError("more bytes than " + quote(f.path) + " has")
	}
	for _, part := range chunk {
		data := part.ReadOnlyData()
		if f.file == nil {
			f.small = append(f.small, data...)
			f.written += int64(len(data))
			continue
		}
		buffer := f.tree.writeBuffer()
		for len(data) > 0 {
			n := copy(buffer[f.waiting:], data)
			f.waiting += n
			data = data[n:]
			if f.waiting == len(buffer) {
				if err := f.flush(); err != nil {
					return writeFailure(f.display(), err)
				}
			}
		}
	}
	return nil
}

// flush writes what waits.
func (f *incoming) flush() error {
	if f.waiting == 0 {
		return nil
	}
	data := f.tree.writeBuffer()[:f.waiting]
	f.waiting = 0
	f.crc = crc32.Update(f.crc, castagnoli, data)
	n, err := f.file.WriteAt(data, f.written)
	f.written += int64(n)
	return err
}

// suspend keeps what came of the file when the connection is lost, and says whether that is worth going on with.
func (f *incoming) suspend() bool {
	if f.file != nil && f.flush() == nil {
		return true
	}
	f.abandon()
	return false
}

// abandon lets go of the file; its partial stays for another download.
func (f *incoming) abandon() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	f.folder.release()
}

// end checks the file and gives it its mode, time and name; of a small one that is done a little later.
func (t *tree) end(f *incoming, end *artifactsv1.FileEnd) error {
	if f.small != nil && int64(len(f.small)) == f.size && crc32.Checksum(f.small, castagnoli) == f.crc32c {
		return t.writers.do(func() error {
			defer f.folder.release()
			return f.writeSmall()
		})
	}
	defer f.folder.release()
	switch {
	case f.small != nil:
		return t.damaged(f)
	case f.whole:
		return f.adjust(f.name)
	}
	ours, err := f.file.Stat()
	if err == nil {
		err = f.flush()
	}
	isRight := f.written == f.size && f.crc == f.crc32c && end.GetCrc32C() == f.crc32c
	if err == nil && isRight {
		err = f.file.Chmod(f.mode)
	}
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	if err == nil && !isRight {
		if err = f.folder.root.Remove(f.partial); err == nil {
			return t.damaged(f)
		}
	}
	if err != nil {
		return writeFailure(f.display(), err)
	}
	return f.complete(ours)
}

func (t *tree) damaged(f *incoming) error {
	t.failed = f.path
	delete(t.whole, f.path)
	return errDamaged
}

func (f *incoming) writeSmall() error {
	file, err := createPartial(f.folder.root, f.partial, f.size)
	if err != nil {
		return writeFailure(f.display(), err)
	}
	ours, err := file.Stat()
	if err == nil {
		_, err = file.WriteAt(f.small, 0)
	}
	if err == nil {
		err = file.Chmod(f.mode)
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		f.folder.root.Remove(f.partial)
		return writeFailure(f.display(), err)
	}
	return f.complete(ours)
}

// complete sets the time of the partial file and gives it its name. Another process that downloads the same may have done so, and may
// have begun a new one since, which must not be taken for ours.
func (f *incoming) complete(ours os.FileInfo) error {
	there, err := f.folder.root.Lstat(f.partial)
	if err == nil && !os.SameFile(ours, there) {
		err = fs.ErrNotExist
	}
	if err == nil && !f.mtime.IsZero() {
		err = f.folder.root.Chtimes(f.partial, time.Time{}, f.mtime)
	}
	if err == nil {
		err = f.folder.root.Rename(f.partial, f.name)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return f.tree.named(f.folder, f.partial, f.name, f.path, err)
	}
	// Not in the tree's buffer: small files are completed side by side.
	if !f.tree.sameBytes(f.tree.rel(f.path), f.size, f.crc32c, make([]byte, writeBytes)) {
		return writeFailure(f.display(), errors.New("its partial file was removed"))
	}
	return f.adjust(f.name)
}

// adjust gives a file that was there before the mode and the time that it should have.
func (f *incoming) adjust(name string) error {
	err := f.folder.root.Chmod(name, f.mode)
	if err == nil && !f.mtime.IsZero() {
		err = f.folder.root.Chtimes(name, time.Time{}, f.mtime)
	}
	if err != nil {
		return writeFailure(f.display(), err)
	}
	return nil
}
