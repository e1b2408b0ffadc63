package artifacts

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

const (
	// Links that are followed to one file; more are taken for a loop.
	maxLinks = 40
	// What stands for permission bits that nobody uploaded.
	defaultFolderMode, linkMode fs.FileMode = 0o755, 0o777
)

// FS gives a run or a tag as a file system for reading, at the commit that is the newest now. It is an [fs.ReadDirFS], an [fs.StatFS] and
// an [fs.ReadLinkFS]; its files are of type [*File]. Links are followed inside of it. When ctx is done, reads fail.
//
// Errors are of type [*ArtifactsDownloadError], of which [*RunNotFoundError] and [*TagNotFoundError] are two; those of the file system's methods
// are of type [*fs.PathError], and wrap them.
func (c *Client) FS(ctx context.Context, ref Ref) (fs.FS, error) {
	at := pinned{ref: ref}
	if _, err := c.firstPage(ctx, &retrier{client: c}, &at, &artifactsv1.ListEntriesRequest{PageSize: 1}); err != nil {
		return nil, opDownload.wrap(err)
	}
	return &fileSystem{client: c, ctx: ctx, at: at}, nil
}

type fileSystem struct {
	client *Client
	ctx    context.Context
	at     pinned
}

func (f *fileSystem) Open(name string) (fs.File, error) {
	entry, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if entry.Mode.IsDir() {
		return &openFolder{fileSystem: f, name: name, entry: entry}, nil
	}
	return f.client.newFile(f.ctx, f.at, entry, name), nil
}

func (f *fileSystem) Stat(name string) (fs.FileInfo, error) {
	entry, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return entryInfo{name, entry}, nil
}

func (f *fileSystem) Lstat(name string) (fs.FileInfo, error) {
	entry, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return entryInfo{name, entry}, nil
}

func (f *fileSystem) ReadLink(name string) (string, error) {
	entry, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if entry.Mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return entry.LinkTarget, nil
}

func (f *fileSystem) ReadDir(name string) ([]fs.DirEntry, error) {
	entry, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !entry.Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	entries, err := f.children(entry.Path)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return entries, nil
}

// children lists a folder, by name.
func (f *fileSystem) children(folder string) ([]fs.DirEntry, error) {
	var children []fs.DirEntry
	request := &artifactsv1.ListEntriesRequest{Prefix: folder, PageSize: entriesPage}
	for page, err := range f.client.entryPages(f.ctx, f.client.newRetrier(), &f.at, request) {
		if err != nil {
			return nil, opDownload.wrap(err)
		}
		for _, e := range page.GetEntries() {
			children = append(children, fs.FileInfoToDirEntry(entryInfo{e.GetPath(), entryOf(e)}))
		}
	}
	return children, nil
}

// openFolder is a folder of a file system, open for reading its entries.
type openFolder struct {
	*fileSystem
	name  string
	entry Entry
	// What is to be given yet, once it was asked for.
	left   []fs.DirEntry
	listed bool
}

func (o *openFolder) Stat() (fs.FileInfo, error) { return entryInfo{o.name, o.entry}, nil }

func (o *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.name, Err: errors.New("is a folder")}
}

func (o *openFolder) Close() error { return nil }

func (o *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if !o.listed {
		children, err := o.children(o.entry.Path)
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: o.name, Err: err}
		}
		o.left, o.listed = children, true
	}
	if n <= 0 {
		n = len(o.left)
	} else if len(o.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.left))
	given := o.left[:n:n]
	o.left = o.left[n:]
	return given, nil
}

// entryInfo is an entry as io/fs describes files; the name is that of the link by which it was found.
type entryInfo struct {
	name  string
	entry Entry
}

func (i entryInfo) Name() string { return path.Base(i.name) }
func (i entryInfo) Size() int64  { return i.entry.Size }
func (i entryInfo) IsDir() bool  { return i.entry.Mode.IsDir() }
func (i entryInfo) Sys() any     { return i.entry }

func (i entryInfo) ModTime() time.Time { return i.entry.ModTime }

func (i entryInfo) Mode() fs.FileMode {
	switch mode := i.entry.Mode; {
	case mode == fs.ModeDir:
		return mode | defaultFolderMode
	case mode.Type() == fs.ModeSymlink:
		return mode | linkMode
	default:
		return mode
	}
}
