package artifacts

import (
	"context"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// stream reads one answer to its end.
func (d *download) stream(ctx context.Context, request *artifactsv1.DownloadRequest) error {
	r, err := d.client.receive(ctx, request)
	if err != nil {
		return err
	}
	defer r.close()
	var files uint64
	for {
		in, err := r.next()
		if err != nil {
			return err
		}
		if chunk, ok := in.bytes(); ok {
			if d.current == nil {
				chunk.Free()
				return protocolError("bytes without a file")
			}
			if chunk.Len() > 0 {
				d.retry.progressed()
			}
			d.meter.add(chunk.Len())
			err := d.current.write(chunk)
			chunk.Free()
			if err != nil {
				return err
			}
			continue
		}
		switch m := in.message.GetMessage().(type) {
		case *artifactsv1.DownloadResponse_Start:
			err = d.at.see(m.Start.GetRun(), m.Start.GetCommit())
		case *artifactsv1.DownloadResponse_File:
			if m.File.GetType() != artifactsv1.EntryType_ENTRY_TYPE_FOLDER {
				files++
			}
			err = d.entry(m.File)
		case *artifactsv1.DownloadResponse_FileEnd:
			err = d.endFile(m.FileEnd)
		case *artifactsv1.DownloadResponse_Finish:
			if m.Finish.GetFiles() != files || d.current != nil {
				return protocolError("another number of files than was announced")
			}
			return r.end()
		default:
			err = protocolError("a message that this client doesn't know")
		}
		if err != nil {
			return err
		}
	}
}

func (d *download) entry(h *artifactsv1.EntryHeader) error {
	path := h.GetPath()
	resumed := d.current
	if resumed == nil {
		d.meter.add(int(h.GetOffset()))
	}
	if resumed != nil && resumed.path != path {
		return protocolError("another file than the one that was begun")
	}
	if pathProblem(path) != "" || !isWithin(path, d.path) {
		return protocolError("the path " + quote(path) + ", which wasn't asked for")
	}
	if d.last != "" && comparePaths(path, d.last) <= 0 {
		return protocolError("the path " + quote(path) + " out of order")
	}
	d.meter.Path = path
	var err error
	switch h.GetType() {
	case artifactsv1.EntryType_ENTRY_TYPE_FOLDER:
		if err = d.tree.folder(h); err == nil {
			d.through(path)
		}
	case artifactsv1.EntryType_ENTRY_TYPE_LINK:
		if err = d.tree.link(h); err == nil {
			d.count(path, 0)
		}
	case artifactsv1.EntryType_ENTRY_TYPE_FILE:
		d.current, err = d.tree.begin(h, resumed)
	default:
		err = protocolError("an entry of a type that this client doesn't know")
	}
	return err
}

func (d *download) endFile(end *artifactsv1.FileEnd) error {
	f := d.current
	if f == nil {
		return protocolError("a file's end without a file")
	}
	d.current = nil
	if err := d.tree.end(f, end); err != nil {
		return err
	}
	d.count(f.path, f.size)
	return nil
}

// through notes that an entry is done. Next to bytes, this is what counts as progress: a server may die again and again behind a header.
func (d *download) through(path string) {
	d.last = path
	d.retry.progressed()
}

func (d *download) count(path string, size int64) {
	d.through(path)
	d.files++
	d.bytes += size
	d.meter.Files++
	d.meter.add(0)
}

func protocolError(what string) error {
	return failf("the server sent %s", what)
}
