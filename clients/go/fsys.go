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
	request := &artifactsv1.ListEntriesRequest{Prefix: trimPath(folder), PageSize: entriesPage}
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

// find gives the entry of a name, with follow what links lead to.
func (f *fileSystem) find(op, name string, follow bool) (Entry, error) {
	if !fs.ValidPath(name) {
		return Entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	entry, err := f.resolve(name, follow)
	if err != nil {
		return Entry{}, &fs.PathError{Op: op, Path: name, Err: opDownload.wrap(err)}
	}
	return entry, nil
}

// resolve looks at each folder on the way only if there is nothing at the whole path: links are rare.
func (f *fileSystem) resolve(name string, follow bool) (Entry, error) {
	for range maxLinks {
		entry, err := f.look(name)
		if err == nil && (!follow || entry.Mode.Type() != fs.ModeSymlink) {
			return entry, nil
		}
		if err == nil {
			name = path.Join(path.Dir(name), entry.LinkTarget)
			continue
		}
		link, rest, ok := f.linkAbove(name)
		if !errors.Is(err, fs.ErrNotExist) || !ok {
			return Entry{}, err
		}
		name = path.Join(path.Dir(link.Path), link.LinkTarget, rest)
	}
	return Entry{}, failf("%s is a loop of links", quote(name))
}

// linkAbove finds the first link on the way to a name, and what of the name lies behind it.
func (f *fileSystem) linkAbove(name string) (link Entry, rest string, ok bool) {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		entry, err := f.look(name[:i])
		if err != nil {
			break
		}
		if entry.Mode.Type() == fs.ModeSymlink {
			return entry, name[i+1:], true
		}
	}
	return Entry{}, "", false
}

// look gives the entry at a path itself.
func (f *fileSystem) look(name string) (Entry, error) {
	if name == "." {
		return Entry{Path: name, Mode: fs.ModeDir | defaultFolderMode}, nil
	}
	request := &artifactsv1.ListEntriesRequest{Prefix: name, PageSize: 1}
	page, err := f.client.firstPage(f.ctx, f.client.newRetrier(), &f.at, request)
	if err != nil {
		return Entry{}, err
	}
	if entry, ok := entryAt(page, name); ok {
		return entry, nil
	}
	return f.lookAtFolder(name)
}

// lookAtFolder asks for a folder's own entry, which its listing doesn't have.
func (f *fileSystem) lookAtFolder(name string) (Entry, error) {
	retry := f.client.newRetrier()
	request := &artifactsv1.DownloadRequest{Project: f.client.project, Reference: f.at.ref.proto(), Path: name, EndAt: name}
	for {
		header, err := f.client.firstHeader(f.ctx, request)
		if err == nil {
			return entryOf(&artifactsv1.Entry{Path: name, Type: artifactsv1.EntryType_ENTRY_TYPE_FOLDER, Mode: header.Mode, Mtime: header.Mtime}), nil
		}
		if err := retry.wait(f.ctx, err); err != nil {
			return Entry{}, err
		}
	}
}

// firstHeader gives the first header of a download; nil if it has none.
func (c *Client) firstHeader(ctx context.Context, request *artifactsv1.DownloadRequest) (*artifactsv1.EntryHeader, error) {
	r, err := c.receive(ctx, request)
	if err != nil {
		return nil, err
	}
	defer r.close()
	for {
		in, err := r.next()
		if err != nil {
			return nil, err
		}
		switch m := in.message.GetMessage().(type) {
		case *artifactsv1.DownloadResponse_File:
			return m.File, nil
		case *artifactsv1.DownloadResponse_Finish:
			return &artifactsv1.EntryHeader{}, nil
		}
	}
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
