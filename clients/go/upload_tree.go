package artifacts

import (
	"context"
	"io/fs"
	"os"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// treeBody is a folder or a file on disk.
type treeBody struct {
	client *Client
	local  string
	root   string
	config uploadConfig
	left   int64
}

func newTreeBody(c *Client, localPath string, config uploadConfig) (*treeBody, error) {
	if localPath == "" {
		return nil, failf("the local path is empty: name a folder or a file")
	}
	local, err := expandHome(localPath)
	if err != nil {
		return nil, err
	}
	if config.symlinks != FollowSymlinks && config.symlinks != PreserveSymlinks {
		return nil, failf("there is no way %d to treat symbolic links", config.symlinks)
	}
	info, err := os.Stat(local)
	if err != nil {
		return nil, missing(local, err)
	}
	root, err := uploadPath(local, config.artifactPath, !info.IsDir())
	if err != nil {
		return nil, err
	}
	return &treeBody{client: c, local: local, root: root, config: config}, nil
}

func missing(local string, err error) error {
	if info, lerr := os.Lstat(local); lerr == nil && info.Mode().Type() == fs.ModeSymlink {
		return linkFailure(local, err)
	}
	return localFailure(local, err)
}

func (t *treeBody) skipped() int64 { return t.left }

func (t *treeBody) send(ctx context.Context, s *sender) error {
	// Warned of once, however often it is sent.
	warn := t.left == 0
	var left int64
	if t.config.progress != nil {
		files, bytes, err := t.totals(ctx)
		if err != nil {
			return err
		}
		s.meter.report, s.meter.TotalFiles, s.meter.TotalBytes = t.config.progress, files, bytes
	}
	err := t.walk(ctx, s.entry, func(local string, mode fs.FileMode) {
		left++
		if warn {
			t.client.log().Warn("not uploaded: neither a file, a folder nor a link", "path", local, "kind", kindName(mode))
		}
	})
	t.left = left
	if err == nil {
		s.meter.done()
	}
	return err
}

// totals looks through the tree once, for those who want to know how much there is.
func (t *treeBody) totals(ctx context.Context) (files, bytes int64, err error) {
	err = t.walk(ctx, func(e localEntry) error {
		if e.kind != artifactsv1.EntryType_ENTRY_TYPE_FOLDER {
			files++
		}
		bytes += e.size
		return nil
	}, func(string, fs.FileMode) {})
	return files, bytes, err
}

// walk gives each entry to emit while the next ones are looked up.
func (t *treeBody) walk(ctx context.Context, emit func(localEntry) error, skip func(string, fs.FileMode)) error {
	ctx, cancel := context.WithCancel(ctx)
	w := walker{root: t.root, symlinks: t.config.symlinks, skip: skip}
	entries, failure := w.entries(ctx, t.local)
	for entry := range entries {
		if err := emit(entry); err != nil {
			cancel()
			for range entries { // The walk must have ended before it can begin again.
			}
			return err
		}
	}
	cancel()
	return failure()
}
