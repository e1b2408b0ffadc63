package artifacts

// UploadOption is a setting of an upload.
type UploadOption interface{ applyUpload(*uploadConfig) }

// DownloadOption is a setting of a download.
type DownloadOption interface{ applyDownload(*downloadConfig) }

// TransferOption is a setting that uploads and downloads both have.
type TransferOption interface {
	UploadOption
	DownloadOption
}

type uploadConfig struct {
	artifactPath *string
	run, tag     *string
	symlinks     Symlinks
	progress     func(Progress)
	uploadID     string
}

type downloadConfig struct {
	artifactPath string
	localPath    string
	progress     func(Progress)
}

type uploadOption func(*uploadConfig)

func (o uploadOption) applyUpload(c *uploadConfig) { o(c) }

type downloadOption func(*downloadConfig)

func (o downloadOption) applyDownload(c *downloadConfig) { o(c) }

type transferOption struct {
	uploadOption
	downloadOption
}

// WithArtifactPath says where an upload goes (a folder's contents below it, a file as it), or what a download fetches (a file, or a
// folder's contents). "", "." and "/" are the run's root. Default: of an upload, its local path; of a download, everything.
func WithArtifactPath(path string) TransferOption {
	return transferOption{
		func(c *uploadConfig) { c.artifactPath = &path },
		func(c *downloadConfig) { c.artifactPath = path },
	}
}

// WithProgress has report called as a transfer goes on, from one goroutine at a time, at most about ten times a second and once at the
// end. It should return quickly.
func WithProgress(report func(Progress)) TransferOption {
	return transferOption{
		func(c *uploadConfig) { c.progress = report },
		func(c *downloadConfig) { c.progress = report },
	}
}

// WithRun adds the files to this run, which is made if need be. Default: DSTACK_RUN_NAME, RUN_NAME, else the server's current run. Not
// together with [WithTag].
func WithRun(run string) UploadOption { return uploadOption(func(c *uploadConfig) { c.run = &run }) }

// WithTag puts the files into a new run of a generated name and makes this tag for it. Not together with [WithRun].
func WithTag(tag string) UploadOption { return uploadOption(func(c *uploadConfig) { c.tag = &tag }) }

// WithSymlinks says what becomes of symbolic links. Default: [FollowSymlinks].
func WithSymlinks(symlinks Symlinks) UploadOption {
	return uploadOption(func(c *uploadConfig) { c.symlinks = symlinks })
}

// WithUploadID names the upload (16 to 64 letters, digits, `-` and `_`), so that it can be continued under the same name after this
// process died: what is persisted is not sent again, and an upload that was committed gives its first answer. Default: a new one.
func WithUploadID(id string) UploadOption {
	return uploadOption(func(c *uploadConfig) { c.uploadID = id })
}

// WithLocalPath says where a download goes: a folder's contents into this folder, which is made if need be; one file into it if it
// is a folder or ends in a slash, else as it. Default: the working directory.
func WithLocalPath(path string) DownloadOption {
	return downloadOption(func(c *downloadConfig) { c.localPath = path })
}
