package artifacts

import (
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"

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
	if info, err := root.Lstat(rel); err == nil && ownFile(info) && info.Size() == size && t.sameBytes(rel, size, e.GetCrc32C(), t.writeBuffer()) {
		t.whole[e.GetPath()] = true
		return size
	}
	info, err := root.Lstat(path.Join(path.Dir(rel), partialName(e.GetPath(), e.GetSize(), e.GetCrc32C())))
	if err != nil || !ownFile(info) || info.Size() > size {
		return 0
	}
	return info.Size()
}

func (t *tree) sameBytes(rel string, size int64, crc uint32, buffer []byte) bool {
	f, err := t.stack[0].root.Open(rel)
	if err != nil {
		return false
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	n, err := io.CopyBuffer(onlyWriter{sum}, onlyReader{f}, buffer)
	return err == nil && n == size && sum.Sum32() == crc
}

// onlyReader hides what else a file can do from io.Copy.
type onlyReader struct{ io.Reader }

// ownFile says whether something is a plain file without a second name: changing one that has one would change it elsewhere.
func ownFile(info os.FileInfo) bool {
	return info.Mode().Type() == 0 && names(info) <= 1 && info.Mode()&fs.ModeIrregular == 0
}
