package artifacts

import (
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// held finds what is there already of the entries: whole files with the same bytes, and partials of an earlier download.
func (t *tree) held(entries []*artifactsv1.Entry) []*artifactsv1.HeldFile {
	clear(t.whole)
	var held []*artifactsv1.HeldFile
	for _, e := range entries {
		if e.GetType() != artifactsv1.EntryType_ENTRY_TYPE_FILE || e.GetSize() == 0 || pathProblem(e.GetPath()) != "" ||
			!isWithin(e.GetPath(), t.asked) {
			continue
		}
		if length := t.heldBytes(e); length > 0 {
			held = append(held, &artifactsv1.HeldFile{Path: e.GetPath(), Length: uint64(length)})
		}
	}
	return held
}

// heldBytes is how many of a file's first bytes are there. What can't be looked at doesn't count; writing will say why.
func (t *tree) heldBytes(e *artifactsv1.Entry) int64 {
	root, rel := t.stack[0].root, t.rel(e.GetPath())
	size := int64(e.GetSize())
	if found := findWhole(root, rel, size, e.GetCrc32C(), t.writeBuffer()); found != nil {
		t.whole[e.GetPath()] = found
		return size
	}
	info, err := root.Lstat(path.Join(path.Dir(rel), partialName(e.GetPath(), e.GetSize(), e.GetCrc32C())))
	if err != nil || !ownFile(info) || info.Size() > size {
		return 0
	}
	return info.Size()
}

// findWhole looks whether a file has the bytes that it should have, and gives it as it was before they were read; nil if it hasn't.
func findWhole(root *os.Root, name string, size int64, crc uint32, buffer []byte) os.FileInfo {
	f, found, err := openOwn(root, name, size)
	if err != nil {
		return nil
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	if n, err := io.CopyBuffer(onlyWriter{sum}, onlyReader{f}, buffer); err != nil || n != size || sum.Sum32() != crc {
		return nil
	}
	return found
}

var errNotOwn = errors.New("not a plain file of that size")

// openOwn opens a plain file of the given size without a second name. Links are not followed, and nothing waits for a FIFO.
func openOwn(root *os.Root, name string, size int64) (*os.File, os.FileInfo, error) {
	there, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !ownFile(there) || there.Size() != size {
		return nil, nil, errNotOwn
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	is, err := f.Stat()
	if err == nil && !os.SameFile(there, is) {
		err = errNotOwn
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, is, nil
}

// unchanged says whether a file is the one that it was, and nobody changed it since, as far as the system knows.
func unchanged(was, is os.FileInfo) bool {
	return os.SameFile(was, is) && was.Size() == is.Size() && was.ModTime().Equal(is.ModTime()) && changeTime(was).Equal(changeTime(is))
}

// onlyReader hides what else a file can do from io.Copy.
type onlyReader struct{ io.Reader }

// ownFile says whether something is a plain file without a second name: changing one that has one would change it elsewhere.
func ownFile(info os.FileInfo) bool {
	return info.Mode().Type() == 0 && names(info) <= 1 && info.Mode()&fs.ModeIrregular == 0
}
