package artifacts

import (
	"context"
	"errors"
	"os"
	"strings"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// listPage is how many entries are compared with what is there already at a time: the request that names them stays small.
const listPage = 1000

// DownloadResult says what a download is of.
type DownloadResult struct {
	// Run that the files are in.
	Run string
	// Commit that they are of.
	Commit uint64
	// Files that are there now, links included.
	Files int64
	// Bytes of those files, also of those that were there before.
	Bytes int64
}

// Download fetches a run or a tag, or what [WithArtifactPath] names of it, into the working directory or where [WithLocalPath] says.
// It sees one commit from beginning to end. Bytes, permission bits (without setuid, setgid and sticky) and files' modification times
// are restored, folders' modes too.
//
// Every file is checked as it is written to a hidden `.partial` file beside its place, then renamed: a failed download leaves whole files
// or none, and run again it goes on where it stopped. Nothing is written outside the local path, through links found there included.
//
// Errors are [*ArtifactsDownloadError]s, of which [*RunNotFoundError] and [*TagNotFoundError] are two; ReasonPathNotFound: nothing is
// at the artifact path.
func (c *Client) Download(ctx context.Context, ref Ref, options ...DownloadOption) (*DownloadResult, error) {
	config := downloadConfig{localPath: "."}
	for _, option := range options {
		option.applyDownload(&config)
	}
	result, err := c.download(ctx, ref, config)
	if err != nil {
		return nil, opDownload.wrap(err)
	}
	return result, nil
}

func (c *Client) download(ctx context.Context, ref Ref, config downloadConfig) (*DownloadResult, error) {
	if err := ref.check(); err != nil {
		return nil, err
	}
	path, err := checkedPath(config.artifactPath)
	if err != nil {
		return nil, err
	}
	local, err := expandHome(config.localPath)
	if err != nil {
		return nil, failf("%s: %w", quote(config.localPath), err)
	}
	if local == "" {
		return nil, failf("the local path is empty")
	}
	d := &download{
		client: c, at: pinned{ref: ref}, path: path, retry: c.newRetrier(), tree: newTree(path, local),
		damaged: map[string]bool{}, meter: meter{report: config.progress},
	}
	defer d.tree.close()
	if err := d.run(ctx); err != nil {
		return nil, err
	}
	d.meter.done()
	return &DownloadResult{Run: d.at.run, Commit: d.at.commit, Files: d.files, Bytes: d.bytes}, nil
}

// download is one download over all its streams.
type download struct {
	client *Client
	at     pinned
	path   string
	retry  *retrier
	tree   *tree
	meter  meter
	// The last entry that is through, and the file that isn't.
	last    string
	current *incoming
	// Files that came damaged once: a second time is an error.
	damaged map[string]bool
	files   int64
	bytes   int64
}

// run fetches everything: in one go into an empty place; else page by page, leaving out what is there already.
func (d *download) run(ctx context.Context) error {
	paged, err := d.mayHold(ctx)
	if err != nil {
		return err
	}
	if !paged {
		err = d.fetch(ctx, "", nil)
	} else {
		err = d.runPaged(ctx)
	}
	if err != nil {
		return errors.Join(err, nil)
	}
	return d.tree.finish()
}

func (d *download) runPaged(ctx context.Context) error {
	for token := ""; ; {
		page, err := d.list(ctx, listPage, token)
		if err != nil {
			return err
		}
		token = page.GetNextPageToken()
		endAt := ""
		if entries := page.GetEntries(); token != "" && len(entries) > 0 {
			endAt = entries[len(entries)-1].GetPath()
		}
		held, err := d.tree.held(page.GetEntries())
		if err != nil {
			return err
		}
		if err := d.fetch(ctx, endAt, held); err != nil || token == "" {
			return err
		}
	}
}

// mayHold says whether something of what is wanted may be there already, whole or in part.
func (d *download) mayHold(ctx context.Context) (bool, error) {
	if d.path == "" {
		return notEmpty(d.tree.local), nil
	}
	page, err := d.list(ctx, 1, "")
	if err != nil {
		return false, err
	}
	for _, e := range page.GetEntries() {
		if e.GetPath() == d.path {
			return true, nil
		}
	}
	return notEmpty(d.tree.local), nil
}

func notEmpty(folder string) bool {
	f, err := os.Open(folder)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) > 0
}

func (d *download) list(ctx context.Context, size uint32, token string) (*artifactsv1.ListEntriesResponse, error) {
	request := &artifactsv1.ListEntriesRequest{
		Project: d.client.project, Reference: d.at.ref.proto(), Prefix: d.path, Recursive: true, PageSize: size, PageToken: token,
	}
	page, err := callWith(ctx, d.retry, func(ctx context.Context, r *artifactsv1.ListEntriesRequest) (*artifactsv1.ListEntriesResponse, error) {
		return d.client.service.ListEntries(ctx, r)
	}, request)
	if err != nil {
		return nil, err
	}
	return page, d.at.see(page.GetRun(), page.GetCommit())
}

// fetch gets the entries behind the last one, up to endAt, but for the bytes that are held; over as many streams as it takes.
func (d *download) fetch(ctx context.Context, endAt string, held []*artifactsv1.HeldFile) error {
	for {
		for len(held) > 0 && d.last != "" && comparePaths(held[0].GetPath(), d.last) <= 0 {
			held = held[1:]
		}
		sent := held
		if d.current != nil {
			sent = withCurrent(held, d.current.path, d.current.written)
		}
		err := d.stream(ctx, &artifactsv1.DownloadRequest{
			Project: d.client.project, Reference: d.at.ref.proto(), Path: d.path, StartAfter: d.last, EndAt: endAt, Held: sent,
		})
		if err == nil {
			return nil
		}
		if d.current != nil && !d.current.suspend() {
			d.current = nil
		}
		if errors.Is(err, errDamaged) {
			// What was there before is given up: the file comes whole.
			held = without(held, d.tree.failed)
			d.current = nil
			continue
		}
		if _, ok := errors.AsType[*DstackError](err); ok {
			return err
		}
		if err := d.retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

func withCurrent(held []*artifactsv1.HeldFile, path string, length int64) []*artifactsv1.HeldFile {
	held = without(held, path)
	if length == 0 {
		return held
	}
	return append([]*artifactsv1.HeldFile{{Path: path, Length: uint64(length)}}, held...)
}

func without(held []*artifactsv1.HeldFile, path string) []*artifactsv1.HeldFile {
	var rest []*artifactsv1.HeldFile
	for _, h := range held {
		if h.GetPath() != path {
			rest = append(rest, h)
		}
	}
	return rest
}

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
		d.retry.progressed()
		if chunk, ok := in.bytes(); ok {
			if d.current == nil {
				chunk.Free()
				return protocolError("bytes without a file")
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
		err = d.tree.folder(h)
		d.last = path
	case artifactsv1.EntryType_ENTRY_TYPE_LINK:
		err = d.tree.link(h)
		d.count(path, 0)
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
	err := d.tree.end(f, end)
	if errors.Is(err, errDamaged) && d.damaged[f.path] {
		return &DstackError{
			Message: quote(f.path) + " arrived damaged, twice", Reason: ReasonChecksumMismatch, Metadata: map[string]string{"path": f.path},
		}
	}
	if err != nil {
		d.damaged[f.path] = true
		return err
	}
	d.count(f.path, f.size)
	return nil
}

func (d *download) count(path string, size int64) {
	d.last = path
	d.files++
	d.bytes += size
	d.meter.Files++
	d.meter.add(0)
}

func protocolError(what string) error {
	return failf("the server sent %s", what)
}

// endsInSeparator says whether the user means a folder, whether it exists or not.
func endsInSeparator(path string) bool {
	return strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(os.PathSeparator))
}
