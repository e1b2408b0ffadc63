package artifacts

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// partialName is where a file's bytes are kept until they are all there: only the same content has the same name.
func partialName(path string, size uint64, crc uint32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%08x", path, size, crc))
	return fmt.Sprintf(".%x.partial", sum[:16])
}

// openPartial opens the partial file and reads the bytes that are kept of it. They may have gone since they were counted.
func (f *incoming) openPartial(keep int64) error {
	if _, err := f.folder.root.Lstat(f.partial); keep > 0 && errors.Is(err, fs.ErrNotExist) {
		return lostError(f)
	}
	file, err := f.createPartial()
	if err != nil {
		return writeFailure(f.display(), err)
	}
	if keep > 0 {
		sum := crc32.New(castagnoli)
		var n int64
		if n, err = io.CopyBuffer(onlyWriter{sum}, io.NewSectionReader(file, 0, keep), f.tree.writeBuffer()); n < keep && err == nil {
			file.Close()
			return lostError(f)
		}
		f.crc = sum.Sum32()
	}
	if err != nil {
		file.Close()
		return writeFailure(f.display(), err)
	}
	f.file, f.written = file, keep
	return nil
}

func (f *incoming) createPartial() (file *os.File, err error) {
	err = f.folder.change(func() (err error) {
		file, err = createPartial(f.folder.root, f.partial, f.size)
		return err
	})
	return file, err
}

// onlyWriter hides what else a writer can do from io.Copy.
type onlyWriter struct{ io.Writer }

// createPartial opens a partial file, or makes it; something else of that name, or one that has a second name, makes way. What is in it
// is never cut off: another process may be at work on the same file, and it writes the same bytes to the same places. As others do the
// same, what was there may be gone a call later.
func createPartial(root *os.Root, name string, size int64) (*os.File, error) {
	for {
		file, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
		info, err := root.Lstat(name)
		if err == nil && ownFile(info) && info.Size() <= size {
			file, err = root.OpenFile(name, os.O_RDWR, 0)
			if err == nil {
				return file, nil
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}
