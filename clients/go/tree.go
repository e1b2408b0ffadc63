package artifacts

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// tree is the place on disk that a download goes to. Everything goes through os.Root, which doesn't leave the folder it was opened
// for, and every folder on the way is looked at, so that a link found there is an error and not a way.
type tree struct {
	// asked is the artifact path of the download, local the path given for it.
	asked, local string
	// single is the name of the one file that is downloaded; empty for a folder's contents.
	single string
	// Whether nothing was there at first.
	isEmpty bool
	// The folders from the top to the one that entries arrive for.
	stack []*folder
	// Modes that folders get at the end, by their paths.
	modes   map[string]fs.FileMode
	writers *writers
	// Files that were found whole, by artifact path, as they were then.
	whole  map[string]os.FileInfo
	buffer []byte
}

// folder is an open folder; it is closed when the last file in it is done.
type folder struct {
	rel  string
	root *os.Root
	refs atomic.Int32
	// Whether it gets the mode in the end that it has in the run.
	hasMode bool
}

// changeTries is how often something is tried in a folder whose mode others may change at any time: each does so once, in its end.
const changeTries = 5

// change does what changes something in the folder. Another download of the same sets the mode in its end, and that may forbid the owner
// to write: then he may again, as the mode is set in the end of this download too.
func (f *folder) change(act func() error) error {
	for tries := 1; ; tries++ {
		err := act()
		if !f.hasMode || tries == changeTries || !errors.Is(err, fs.ErrPermission) {
			return err
		}
		info, serr := f.root.Stat(".")
		if serr == nil && info.Mode().Perm()&ownerMay != ownerMay {
			serr = f.root.Chmod(".", info.Mode()&(specialBits|fs.ModePerm)|ownerMay)
		}
		if serr != nil {
			return err
		}
	}
}

func (f *folder) release() {
	if f.refs.Add(-1) == 0 {
		f.root.Close()
	}
}

// openTree opens the place of a download: what is asked for is one file, which goes into local if that is a folder or ends in a
// slash, else becomes it; or everything that is in a folder.
func openTree(asked, local string, isFile bool) (*tree, error) {
	t := &tree{asked: asked, local: local, modes: map[string]fs.FileMode{}, whole: map[string]os.FileInfo{}}
	dir := local
	if isFile {
		dir, t.single = filepath.Split(local)
		info, err := os.Stat(local)
		if t.single == "" || t.single == "." || t.single == ".." || (err == nil && info.IsDir()) {
			dir, t.single = local, asked[strings.LastIndexByte(asked, '/')+1:]
		}
		if dir == "" {
			dir = "."
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, writeFailure(dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, writeFailure(dir, err)
	}
	t.isEmpty = isEmpty(root)
	t.stack = append(t.stack, &folder{root: root})
	t.stack[0].refs.Store(1)
	t.writers = newWriters()
	return t, nil
}

func isEmpty(root *os.Root) bool {
	f, err := root.Open(".")
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	return err == io.EOF
}

// rel is where an entry goes, from the tree's top.
func (t *tree) rel(path string) string {
	switch {
	case t.single != "":
		return t.single
	case t.asked == "":
		return path
	case path == t.asked:
		return ""
	}
	return path[len(t.asked)+1:]
}

// display is how an entry's place is called in errors.
func (t *tree) display(rel string) string {
	if t.single != "" {
		return filepath.Join(t.stack[0].root.Name(), rel)
	}
	return filepath.Join(t.local, filepath.FromSlash(rel))
}

func (t *tree) folder(h *artifactsv1.EntryHeader) error {
	rel := t.rel(h.GetPath())
	if rel == "" || t.single != "" {
		return nil // The mode of the folder that the user named stays as it is.
	}
	_, err := t.enter(rel, h.Mode != nil)
	if err == nil && h.Mode != nil {
		t.modes[rel] = fs.FileMode(h.GetMode()) & fs.ModePerm
	}
	return err
}

func (t *tree) link(h *artifactsv1.EntryHeader) error {
	if problem := linkProblem(t.rel(h.GetPath()), h.GetLinkTarget()); problem != "" {
		return failf("the link %s -> %s %s: download a folder that holds both", quote(h.GetPath()), quote(h.GetLinkTarget()), problem)
	}
	f, name, err := t.place(h.GetPath())
	if err != nil {
		return err
	}
	partial := partialName(h.GetPath(), 0, crc32.Checksum([]byte(h.GetLinkTarget()), castagnoli))
	if err := f.giveLink(filepath.FromSlash(h.GetLinkTarget()), partial, name); err != nil {
		return t.named(f, partial, name, h.GetPath(), err)
	}
	return nil
}

// giveLink makes a link. Others may be at the same: whoever has the partial link taken away begins anew, and finds the link there.
func (f *folder) giveLink(target, partial, name string) error {
	return f.change(func() error { return f.tryLink(target, partial, name) })
}

func (f *folder) tryLink(target, partial, name string) error {
	for {
		if there, err := f.root.Readlink(name); err == nil && there == target {
			return nil
		}
		if err := f.root.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err := f.root.Symlink(target, partial)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = f.root.Rename(partial, name)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// named says what came of giving something whole its name, which replaces files and links, not folders.
func (t *tree) named(f *folder, partial, name, path string, err error) error {
	if err == nil {
		return nil
	}
	defer f.root.Remove(partial)
	display := t.display(t.rel(path))
	if info, lerr := f.root.Lstat(name); lerr == nil && info.IsDir() {
		return failf("%s is a folder here, but not in the artifact", quote(display))
	}
	return writeFailure(display, err)
}

// finish waits for the writers and sets the modes of folders, the deepest first.
func (t *tree) finish() error {
	if err := t.writers.wait(); err != nil {
		return err
	}
	return t.setModes()
}

// specialBits of a folder are from whoever made it, or inherited: it keeps them.
const specialBits = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func (t *tree) setModes() error {
	// What is in a folder comes behind it in the order of paths.
	paths := slices.Sorted(maps.Keys(t.modes))
	for _, rel := range slices.Backward(paths) {
		info, err := t.stack[0].root.Stat(rel)
		if err == nil {
			err = t.stack[0].root.Chmod(rel, info.Mode()&specialBits|t.modes[rel])
		}
		if err != nil {
			return writeFailure(t.display(rel), err)
		}
	}
	return nil
}

// giveUp sets the modes of folders as far as it can, for a download that failed, whose error goes before those here.
func (t *tree) giveUp() {
	_ = t.writers.wait()
	_ = t.setModes()
}

func (t *tree) close() {
	_ = t.writers.wait()
	for _, f := range t.stack {
		f.release()
	}
	t.stack = nil
}

// writeFailure names the path and says what the system says about it.
func writeFailure(local string, err error) *DstackError {
	what := err
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		what = p.Err
	} else if l, ok := errors.AsType[*os.LinkError](err); ok {
		what = l.Err
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return failf("%s is not a folder, or lies in what is none: %w", quote(local), err)
	}
	return &DstackError{Message: fmt.Sprintf("%s can't be written: %v", quote(local), what), Err: err}
}
