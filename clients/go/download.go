package artifacts

import (
	"context"
	"errors"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// comparedPage is how many entries are compared with what is there already at a time: the request that names them stays small.
const comparedPage = 1000

// damagedFetches is how often a file that arrives damaged is fetched in all.
const damagedFetches = 2

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
// Errors are of type [*ArtifactsDownloadError], of which [*RunNotFoundError] and [*TagNotFoundError] are two; ReasonPathNotFound: nothing is
// at the artifact path.
func (c *Client) Download(ctx context.Context, ref Ref, options ...DownloadOption) (*DownloadResult, error) {
	var config downloadConfig
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
	path, err := checkedPath(config.artifactPath)
	if err != nil {
		return nil, err
	}
	local := config.localPath
	if local == "" {
		local = "."
	}
	if local, err = expandHome(local); err != nil {
		return nil, err
	}
	d := &download{client: c, at: pinned{ref: ref}, path: path, refetched: map[string]int{}, meter: meter{report: config.progress}}
	first, err := c.firstPage(ctx, &retrier{client: c}, &d.at, &artifactsv1.ListEntriesRequest{Prefix: path, Recursive: true, PageSize: 1})
	if err != nil {
		return nil, err
	}
	d.meter.TotalFiles, d.meter.TotalBytes = int64(first.GetTotalFiles()), int64(first.GetTotalBytes())
	d.retry = c.newRetrier()
	_, isFile := entryAt(first, path)
	if d.tree, err = openTree(path, local, isFile); err != nil {
		return nil, err
	}
	defer d.close()
	if err := d.run(ctx); err != nil {
		d.tree.giveUp()
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
	// How often files had to come again.
	refetched map[string]int
	files     int64
	bytes     int64
}

// close lets go of everything; what came of a file can be gone on with.
func (d *download) close() {
	if d.current != nil && d.current.suspend() {
		d.current.abandon()
	}
	d.tree.close()
}

// run fetches everything: in one go into an empty place; else page by page, leaving out what is there already.
func (d *download) run(ctx context.Context) error {
	if d.tree.isEmpty {
		if err := d.fetch(ctx, "", nil); err != nil {
			return err
		}
		return d.tree.finish()
	}
	request := &artifactsv1.ListEntriesRequest{Prefix: d.path, Recursive: true, PageSize: comparedPage}
	for page, err := range d.client.entryPages(ctx, d.client.newRetrier(), &d.at, request) {
		if err != nil {
			return err
		}
		endAt := ""
		if entries := page.GetEntries(); page.GetNextPageToken() != "" && len(entries) > 0 {
			endAt = entries[len(entries)-1].GetPath()
		}
		if err := d.fetch(ctx, endAt, d.tree.held(page.GetEntries())); err != nil {
			return err
		}
	}
	return d.tree.finish()
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
		if wrong, ok := errors.AsType[*refetchError](err); ok {
			// What was there before is given up.
			d.leave(false)
			delete(d.tree.whole, wrong.path)
			held = without(held, wrong.path)
			if err := d.refetch(wrong); err != nil {
				return err
			}
			continue
		}
		d.leave(true)
		if err := d.retry.wait(ctx, err); err != nil {
			return err
		}
	}
}

// leave keeps what came of the file that isn't through, to be gone on with, or lets go of it.
func (d *download) leave(goOn bool) {
	d.meter.Bytes = d.bytes
	switch {
	case d.current == nil:
	case !goOn:
		d.current.abandon()
		d.current = nil
	case !d.current.suspend():
		d.current = nil
	default:
		d.meter.Bytes += d.current.written
	}
}

// refetch has a file come whole, if it may come again. It need not if another download has made it right: those finish what they share,
// replace what others finished, and set the mode and time of what they find, all of which looks like a change.
func (d *download) refetch(wrong *refetchError) error {
	if f := wrong.lost; f != nil {
		err := f.lost()
		if err == nil {
			d.count(f.path, f.size)
			d.meter.Bytes = d.bytes
			return nil
		}
		still, ok := errors.AsType[*refetchError](err)
		if !ok {
			return err
		}
		wrong = still
	}
	if d.refetched[wrong.path]++; d.refetched[wrong.path] == damagedFetches {
		return wrong.failure()
	}
	return nil
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
