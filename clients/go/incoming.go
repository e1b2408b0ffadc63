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

// refetchError says that what is there of a file is not what the server has; it is when it comes again, from its first byte.
type refetchError struct {
	path, problem string
	reason        Reason
	// Set if another download may have made it right meanwhile.
	lost *incoming
}

func (e *refetchError) Error() string { return quote(e.path) + " " + e.problem }

// failure is the error for those who can't have it come again.
func (e *refetchError) failure() *DstackError {
	return &DstackError{Message: e.Error(), Reason: e.reason, Metadata: map[string]string{"path": e.path}}
}

func damagedError(path string) *refetchError {
	return &refetchError{
		path: path, problem: "arrived damaged: its checksum is not that of the uploaded file", reason: ReasonChecksumMismatch,
	}
}

func lostError(f *incoming) *refetchError {
	return &refetchError{path: f.path, problem: "can't be finished: its partial file was removed or replaced while it was written", lost: f}
}

func changedError(f *incoming) *refetchError {
	return &refetchError{path: f.path, problem: "changed while it was downloaded", lost: f}
}

func foreignError(path string) *refetchError {
	return &refetchError{path: path, problem: "is there and belongs to somebody else: its mode and its time can't be set"}
}

// lostWrites is how often a small file is written if its partial file is taken away, and how often what another download has made of a
// file is looked at if yet another one replaces it: more often than downloads are at the same.
const lostWrites = 10

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
	// found is the file if it was there already and only needs its mode and time, as it was when its bytes were compared.
	found os.FileInfo
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
	case h.GetOffset() > 0 && t.whole[f.path] != nil && h.GetOffset() == h.GetSize():
		f.found, f.written, f.crc = t.whole[f.path], f.size, f.crc32c
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
					return err
				}
			}
		}
	}
	return nil
}

// flush writes what waits, if the partial file is ours still: once another download has given it its name, its user may write to it.
func (f *incoming) flush() error {
	if f.waiting == 0 {
		return nil
	}
	data := f.tree.writeBuffer()[:f.waiting]
	f.waiting = 0
	ours, err := f.ours(f.file)
	if err == nil && ours == nil {
		return lostError(f)
	}
	if err == nil {
		var n int
		n, err = f.file.WriteAt(data, f.written)
		f.written += int64(n)
	}
	if err != nil {
		return writeFailure(f.display(), err)
	}
	f.crc = crc32.Update(f.crc, castagnoli, data)
	return nil
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
			return f.writeSmall(lostWrites)
		})
	}
	defer f.folder.release()
	switch {
	case f.small != nil:
		return damagedError(f.path)
	case f.found != nil:
		return f.adopt(f.found)
	}
	err := f.flush()
	isRight := f.written == f.size && f.crc == f.crc32c && end.GetCrc32C() == f.crc32c
	if err == nil && isRight {
		return f.complete(f.file)
	}
	f.file.Close()
	if err != nil {
		return err
	}
	if err := f.removePartial(); err != nil {
		return writeFailure(f.display(), err)
	}
	return damagedError(f.path)
}

// writeSmall writes a file whose bytes are all there, up to so many times.
func (f *incoming) writeSmall(times int) error {
	file, err := f.createPartial()
	if err != nil {
		return writeFailure(f.display(), err)
	}
	if _, err := file.WriteAt(f.small, 0); err != nil {
		file.Close()
		_ = f.removePartial()
		return writeFailure(f.display(), err)
	}
	err = f.complete(file)
	lost, isLost := errors.AsType[*refetchError](err)
	switch {
	case isLost && times > 1:
		return f.writeSmall(times - 1)
	case isLost:
		return lost.failure()
	}
	return err
}

func (f *incoming) removePartial() error {
	err := f.folder.change(func() error { return f.folder.root.Remove(f.partial) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// complete gives the partial file its mode, its time and its name, and closes it. Another process that downloads the same may have done
// so, and may have begun a new one since, which must not be taken for ours.
func (f *incoming) complete(file *os.File) error {
	ours, err := f.ours(file)
	if err == nil && ours != nil {
		err = f.setAttributes(file, ours, f.partial)
	}
	// Not before: a new one could have the inode of one that nobody has any more.
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil && ours != nil {
		err = f.folder.change(func() error { return f.folder.root.Rename(f.partial, f.name) })
	}
	switch {
	case ours != nil && !errors.Is(err, fs.ErrNotExist):
		return f.tree.named(f.folder, f.partial, f.name, f.path, err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return writeFailure(f.display(), err)
	}
	return f.lost()
}

// ours is the partial file as it is; nil if it is not the one that is open any more.
func (f *incoming) ours(file *os.File) (os.FileInfo, error) {
	ours, err := file.Stat()
	if err != nil {
		return nil, err
	}
	there, err := f.folder.root.Lstat(f.partial)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || !os.SameFile(ours, there) {
		return nil, err
	}
	return ours, nil
}

// lost is what becomes of a file whose partial one is gone, or another one: whoever took it may have finished it.
func (f *incoming) lost() error {
	// Not in the tree's buffer: small files are completed side by side.
	buffer := make([]byte, writeBytes)
	for tries := 1; ; tries++ {
		found := findWhole(f.folder.root, f.name, f.size, f.crc32c, buffer)
		if found == nil {
			return lostError(f)
		}
		err := f.adopt(found)
		if wrong, ok := errors.AsType[*refetchError](err); !ok || wrong.lost == nil || tries == lostWrites {
			return err
		}
	}
}

// adopt gives a file that was there before the mode and the time that it should have, if it is as it was found.
func (f *incoming) adopt(found os.FileInfo) error {
	file, is, err := openOwn(f.folder.root, f.name, f.size)
	if err != nil {
		return changedError(f)
	}
	defer file.Close()
	if !unchanged(found, is) {
		return changedError(f)
	}
	err = f.setAttributes(file, is, f.name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return foreignError(f.path)
	case errors.Is(err, fs.ErrNotExist):
		return changedError(f)
	case err != nil:
		return writeFailure(f.display(), err)
	}
	return nil
}

// setAttributes sets what differs of mode and time of an open file, which is as `is` says. Setting what is set already could be forbidden.
func (f *incoming) setAttributes(file *os.File, is os.FileInfo, name string) error {
	if is.Mode()&(specialBits|fs.ModePerm) != f.mode {
		if err := file.Chmod(f.mode); err != nil {
			return err
		}
	}
	if f.mtime.IsZero() || is.ModTime().Equal(f.mtime) {
		return nil
	}
	// There is no way to set it by the open file.
	return f.folder.root.Chtimes(name, time.Time{}, f.mtime)
}
