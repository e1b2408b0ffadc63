package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// Symlinks says what an upload does with symbolic links.
type Symlinks int

const (
	// FollowSymlinks uploads what links point to, files and folders alike; a loop or a dangling link is an error.
	FollowSymlinks Symlinks = iota
	// PreserveSymlinks uploads the links themselves; one that leads out of the tree is an error.
	PreserveSymlinks
)

// walkedAhead is how many entries are looked up before they are sent.
const walkedAhead = 256

// localEntry is one thing that an upload sends.
type localEntry struct {
	// path is where it goes.
	path string
	// local is where it is.
	local  string
	kind   artifactsv1.EntryType
	size   int64
	mode   fs.FileMode
	mtime  time.Time
	target string
}

// walker finds what is to be uploaded, in the order of the artifact paths.
type walker struct {
	root     string
	symlinks Symlinks
	emit     func(localEntry) error
	// skip is told of what can't be uploaded: sockets, FIFOs and devices.
	skip func(local string, mode fs.FileMode)
	// The folders that the walk is in, to find loops.
	inside []fs.FileInfo
}

// walk sends everything at local to emit: a folder's contents below root, a file as root.
func (w *walker) walk(local string) error {
	info, err := os.Stat(local)
	if err != nil {
		return localFailure(local, err)
	}
	switch {
	case info.IsDir():
		if w.root != "" {
			if err := w.folder(w.root, local, info); err != nil {
				return err
			}
		}
		return w.contents(w.root, local, info)
	case info.Mode().IsRegular():
		if problem := pathProblem(w.root); problem != "" {
			return invalidPath(w.root, problem)
		}
		return w.file(w.root, local, info)
	}
	return failf("%s is neither a file nor a folder", quote(local))
}

func (w *walker) contents(path, local string, info fs.FileInfo) error {
	for _, outer := range w.inside {
		if os.SameFile(outer, info) {
			return failf("%s leads back to a folder that it is in: a loop of links", quote(local))
		}
	}
	w.inside = append(w.inside, info)
	defer func() { w.inside = w.inside[:len(w.inside)-1] }()
	names, err := os.ReadDir(local)
	if err != nil {
		return localFailure(local, err)
	}
	for _, name := range names {
		if err := w.entry(joinPath(path, name.Name()), filepath.Join(local, name.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(path, local string) error {
	info, err := os.Lstat(local)
	if err != nil {
		return localFailure(local, err)
	}
	if info.Mode().Type() == fs.ModeSymlink {
		if w.symlinks == PreserveSymlinks {
			return w.link(path, local, info)
		}
		if info, err = os.Stat(local); err != nil {
			return linkFailure(local, err)
		}
	}
	mode := info.Mode()
	if !mode.IsDir() && !mode.IsRegular() {
		w.skip(local, mode)
		return nil
	}
	if !utf8.ValidString(path) {
		return failf("%s can't be uploaded: its name is not valid UTF-8", quote(local))
	}
	if problem := pathProblem(path); problem != "" {
		d := failf("%s can't be uploaded: its path in the run %s", quote(local), problem)
		d.Reason, d.Metadata = ReasonPathInvalid, map[string]string{"path": path}
		return d
	}
	if mode.IsRegular() {
		return w.file(path, local, info)
	}
	if err := w.folder(path, local, info); err != nil {
		return err
	}
	return w.contents(path, local, info)
}

func (w *walker) folder(path, local string, info fs.FileInfo) error {
	return w.emit(localEntry{
		path: path, local: local, kind: artifactsv1.EntryType_ENTRY_TYPE_FOLDER, mode: info.Mode().Perm(), mtime: info.ModTime(),
	})
}

func (w *walker) file(path, local string, info fs.FileInfo) error {
	return w.emit(localEntry{
		path: path, local: local, kind: artifactsv1.EntryType_ENTRY_TYPE_FILE,
		size: info.Size(), mode: info.Mode().Perm(), mtime: info.ModTime(),
	})
}

func (w *walker) link(path, local string, info fs.FileInfo) error {
	target, err := os.Readlink(local)
	if err != nil {
		return localFailure(local, err)
	}
	target = filepath.ToSlash(target)
	problem := pathProblem(path)
	if problem == "" {
		problem = linkProblem(strings.TrimPrefix(strings.TrimPrefix(path, w.root), "/"), target)
	}
	if problem != "" {
		return failf("the link %s -> %s can't be uploaded: it %s", quote(local), quote(target), problem)
	}
	return w.emit(localEntry{
		path: path, local: local, kind: artifactsv1.EntryType_ENTRY_TYPE_LINK, mtime: info.ModTime(), target: target,
	})
}

// entries walks ahead of whoever consumes the channel. The error function is called after the channel is closed.
func (w *walker) entries(ctx context.Context, local string) (<-chan localEntry, func() error) {
	entries := make(chan localEntry, walkedAhead)
	var failure error
	w.emit = func(e localEntry) error {
		select {
		case entries <- e:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	go func() {
		failure = w.walk(local)
		close(entries)
	}()
	return entries, func() error { return failure }
}

// localFailure names the path and says what the system says about it.
func localFailure(local string, err error) *DstackError {
	what := err
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		what = p.Err
	}
	d := &DstackError{Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Message = quote(local) + " does not exist"
	case errors.Is(err, fs.ErrPermission):
		d.Message = quote(local) + " can't be read: permission denied"
	default:
		d.Message = fmt.Sprintf("%s: %v", quote(local), what)
	}
	return d
}

func linkFailure(local string, err error) *DstackError {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &DstackError{Message: quote(local) + " is a dangling link", Err: err}
	case errors.Is(err, syscall.ELOOP):
		return &DstackError{Message: quote(local) + " is a loop of links", Err: err}
	}
	return localFailure(local, err)
}

// kindName is what a special file is called in a warning.
func kindName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
