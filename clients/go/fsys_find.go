package artifacts

import (
	"context"
	"errors"
	"io/fs"
	"path"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

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
