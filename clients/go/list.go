package artifacts

import (
	"context"
	"io/fs"
	"iter"
	"time"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// entriesPage is how many entries one answer holds at the most: as many as a server gives.
const entriesPage = 10_000

// Entry is a file, a folder or a link of a run.
type Entry struct {
	// Path from the run's root.
	Path string
	// Mode has the type's bit (fs.ModeDir, fs.ModeSymlink, or none of a file) and the permission bits; those are 0 of links, and of folders
	// that were never uploaded themselves.
	Mode fs.FileMode
	// Size of a file in bytes; 0 of folders and links.
	Size int64
	// ModTime is zero of folders that were never uploaded themselves.
	ModTime time.Time
	// CRC32C (Castagnoli) of a file's bytes; 0 of folders and links.
	CRC32C uint32
	// LinkTarget is what a link points to; empty of files and folders.
	LinkTarget string
}

// Listing is what a run or a tag shows at one commit.
type Listing struct {
	// Entries sorted by path, segment by segment: a folder comes right before what is in it.
	Entries []Entry
	// Files and links under the prefix, at any depth.
	Files int64
	// Bytes of those files.
	Bytes int64
	// Run that was listed.
	Run string
	// Commit that was listed.
	Commit uint64
}

// ListOption is a setting of a listing.
type ListOption func(*artifactsv1.ListEntriesRequest)

// WithPrefix lists only this file, or what is in this folder; matched on whole segments. Default: everything.
func WithPrefix(path string) ListOption {
	return func(r *artifactsv1.ListEntriesRequest) { r.Prefix = path }
}

// WithRecursive lists what is in the folder at any depth. Default: one level.
func WithRecursive() ListOption {
	return func(r *artifactsv1.ListEntriesRequest) { r.Recursive = true }
}

// List gives the entries of a run or a tag, all of one commit.
//
// Errors are [*RunNotFoundError], [*TagNotFoundError] or a [*DstackError]; [ReasonPathNotFound]: nothing is at the prefix.
func (c *Client) List(ctx context.Context, ref Ref, options ...ListOption) (*Listing, error) {
	request := &artifactsv1.ListEntriesRequest{PageSize: entriesPage}
	for _, option := range options {
		option(request)
	}
	listing := &Listing{}
	for page, err := range c.entryPages(ctx, c.newRetrier(), &pinned{ref: ref}, request) {
		if err != nil {
			return nil, opOther.wrap(err)
		}
		for _, e := range page.GetEntries() {
			listing.Entries = append(listing.Entries, entryOf(e))
		}
		listing.Files, listing.Bytes = int64(page.GetTotalFiles()), int64(page.GetTotalBytes())
		listing.Run, listing.Commit = page.GetRun(), page.GetCommit()
	}
	return listing, nil
}

// entryPages asks for one page of a listing after the other; all are of the commit that at is pinned to by the first.
func (c *Client) entryPages(
	ctx context.Context, retry *retrier, at *pinned, request *artifactsv1.ListEntriesRequest,
) iter.Seq2[*artifactsv1.ListEntriesResponse, error] {
	return func(yield func(*artifactsv1.ListEntriesResponse, error) bool) {
		if err := at.ref.check(); err != nil {
			yield(nil, err)
			return
		}
		request.Project = c.project
		for {
			request.Reference = at.ref.proto()
			page, err := callWith(ctx, retry, c.service.ListEntries, request)
			if err == nil {
				err = at.see(page.GetRun(), page.GetCommit())
			}
			if !yield(page, err) || err != nil || page.GetNextPageToken() == "" {
				return
			}
			request.PageToken = page.GetNextPageToken()
		}
	}
}

func entryOf(e *artifactsv1.Entry) Entry {
	entry := Entry{
		Path: e.GetPath(), Mode: fs.FileMode(e.GetMode()) & fs.ModePerm, Size: int64(e.GetSize()),
		CRC32C: e.GetCrc32C(), LinkTarget: e.GetLinkTarget(),
	}
	switch e.GetType() {
	case artifactsv1.EntryType_ENTRY_TYPE_FOLDER:
		entry.Mode |= fs.ModeDir
	case artifactsv1.EntryType_ENTRY_TYPE_LINK:
		entry.Mode |= fs.ModeSymlink
	}
	if e.GetMtime() != nil {
		entry.ModTime = e.GetMtime().AsTime()
	}
	return entry
}

// allPages collects the items of a paged call.
func allPages[Page interface{ GetNextPageToken() string }, Item any](
	fetch func(token string) (Page, error), items func(Page) []Item,
) ([]Item, error) {
	var all []Item
	for token := ""; ; {
		page, err := fetch(token)
		if err != nil {
			return nil, opOther.wrap(err)
		}
		all = append(all, items(page)...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}
