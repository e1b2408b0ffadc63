package artifacts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// resendLimit is how often an upload starts over because the server has not what it said it has, or got other bytes than were sent.
const resendLimit = 3

// UploadResult is a commit that is durable and visible.
type UploadResult struct {
	// Project that the run is in.
	Project string
	// Run that the files are in.
	Run string
	// Commit is the number of the commit in the run, from 1.
	Commit uint64
	// Tag that was made; empty if none was asked for.
	Tag string
	// Files in the commit, links included.
	Files int64
	// Bytes of the files.
	Bytes int64
	// Skipped counts sockets, FIFOs and devices that were left out.
	Skipped int64
}

// Upload adds a folder's contents or one file to a run, as one commit: all files appear together or none do. Names, permission bits,
// modification times, empty files and empty folders are kept. Sockets, FIFOs and devices are left out with a warning.
//
// Without [WithArtifactPath], a relative localPath must lie inside the working directory. A leading `~` is the user's home.
//
// Errors are [*ArtifactsUploadError]s; nothing is visible then. A tag that exists (ReasonTagExists) is one before any file is sent.
func (c *Client) Upload(ctx context.Context, localPath string, options ...UploadOption) (*UploadResult, error) {
	config := newUploadConfig(options)
	body, err := newTreeBody(c, localPath, config)
	if err != nil {
		return nil, opUpload.wrap(err)
	}
	return c.upload(ctx, config, body)
}

// UploadReader adds one file to a run, whose bytes come from reader until io.EOF.
//
// If the connection is lost, the upload goes on from what the server has. A reader that is an io.Seeker is read again from where it
// stood; of any other one the last 64 MiB are kept for that, which is more than a server has under way. Reading goes on in another
// goroutine, so that cancelling ctx ends the call at once; reader may then still be in its last Read.
//
// Errors are [*ArtifactsUploadError]s; they wrap an error of reader.
func (c *Client) UploadReader(ctx context.Context, artifactPath string, reader io.Reader, options ...UploadOption) (*UploadResult, error) {
	config := newUploadConfig(options)
	path := trimPath(artifactPath)
	if problem := pathProblem(path); problem != "" {
		return nil, opUpload.wrap(invalidPath(artifactPath, problem))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return c.upload(ctx, config, newReaderBody(ctx, path, reader, config.progress))
}

func newUploadConfig(options []UploadOption) uploadConfig {
	var config uploadConfig
	for _, option := range options {
		option.applyUpload(&config)
	}
	return config
}

// body is what an upload sends between its start and its finish; it can be sent again.
type body interface {
	send(ctx context.Context, s *sender) error
	// skipped counts what was left out when it was last sent.
	skipped() int64
}

// upload is one upload over all its tries.
type upload struct {
	client *Client
	id     string
	start  *artifactsv1.UploadStart
	body   body
	retry  *retrier
	// How often a file is begun anew because its bytes arrived damaged.
	damaged map[string]uint32
}

func (c *Client) upload(ctx context.Context, config uploadConfig, body body) (*UploadResult, error) {
	u := &upload{client: c, id: config.uploadID, body: body, retry: c.newRetrier(), damaged: map[string]uint32{}}
	if u.id == "" {
		u.id = rand.Text()
	} else if !uploadIDPattern.MatchString(u.id) {
		return nil, opUpload.wrap(failf("upload id %q must be 16 to 64 letters, digits, `-` or `_`", u.id))
	}
	var err error
	if u.start, err = c.uploadStart(u.id, config); err != nil {
		return nil, opUpload.wrap(err)
	}
	response, err := u.run(ctx, config.uploadID != "")
	if err != nil {
		err = opUpload.wrap(err)
		if e, ok := errors.AsType[*ArtifactsUploadError](err); ok {
			e.UploadID = u.id
		}
		return nil, err
	}
	return &UploadResult{
		Project: response.GetProject(), Run: response.GetRun(), Commit: response.GetCommit(), Tag: response.GetTag(),
		Files: int64(response.GetFiles()), Bytes: int64(response.GetBytes()), Skipped: body.skipped(),
	}, nil
}

func (c *Client) uploadStart(id string, config uploadConfig) (*artifactsv1.UploadStart, error) {
	start := &artifactsv1.UploadStart{UploadId: id, Project: c.project}
	run := config.run
	switch {
	case config.tag != nil && run != nil:
		return nil, failf("an upload goes to a run or makes a tag: run %q and tag %q can't both be given", *run, *config.tag)
	case config.tag != nil:
		if problem := nameProblem(*config.tag); problem != "" {
			return nil, invalidName("tag", *config.tag, problem)
		}
		start.Target = &artifactsv1.UploadStart_Tag{Tag: *config.tag}
		return start, nil
	case run == nil:
		name := environmentRun()
		if name == "" {
			return start, nil
		}
		run = &name
	}
	if problem := nameProblem(*run); problem != "" {
		return nil, invalidName("run", *run, problem)
	}
	start.Target = &artifactsv1.UploadStart_Run{Run: *run}
	return start, nil
}

// run sends the upload until the server has it all. With resume it may have been begun before.
func (u *upload) run(ctx context.Context, resume bool) (*artifactsv1.UploadResponse, error) {
	if !resume {
		if err := u.greet(ctx); err != nil {
			return nil, err
		}
	}
	best, grew, resent := int64(-1), true, 0
	for {
		var persisted *persistedFiles
		if resume {
			total, response, err := u.persistedTotal(ctx)
			if err != nil || response != nil {
				return response, err
			}
			if total < 0 && best < 0 {
				if err := u.greet(ctx); err != nil {
					return nil, err
				}
			}
			if grew = total > best; grew {
				best = total
				u.retry.progressed()
			}
			persisted = &persistedFiles{upload: u}
		}
		response, err := u.attempt(ctx, persisted)
		if err == nil {
			return response, nil
		}
		if _, ok := errors.AsType[*DstackError](err); ok {
			return nil, err
		}
		resume = true
		switch a := answerOf(err); a.reason {
		case ReasonChecksumMismatch:
			u.damaged[a.metadata["path"]]++
			fallthrough
		case reasonPersistedMissing:
			if resent++; resent <= resendLimit {
				continue
			}
			return nil, u.client.failure(err, true)
		}
		if grew {
			u.retry.progressed()
		}
		if err := u.retry.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// greet fails early: when there is no server, and when the tag exists.
func (u *upload) greet(ctx context.Context) error {
	tag, tagged := u.start.GetTarget().(*artifactsv1.UploadStart_Tag)
	if !tagged {
		_, err := callWith(ctx, u.retry, u.info, &artifactsv1.GetServerInfoRequest{})
		return err
	}
	request := &artifactsv1.GetTagRequest{Project: u.client.project, Tag: tag.Tag}
	_, err := callWith(ctx, u.retry, func(ctx context.Context, r *artifactsv1.GetTagRequest) (*artifactsv1.GetTagResponse, error) {
		return u.client.service.GetTag(ctx, r)
	}, request)
	switch {
	case err == nil:
		return &DstackError{
			Message: fmt.Sprintf("tag %q already exists", tag.Tag), Reason: ReasonTagExists, Metadata: map[string]string{"tag": tag.Tag},
		}
	case errors.Is(err, ReasonTagNotFound):
		return nil
	}
	return err
}

func (u *upload) info(ctx context.Context, r *artifactsv1.GetServerInfoRequest) (*artifactsv1.GetServerInfoResponse, error) {
	return u.client.service.GetServerInfo(ctx, r)
}

// attempt sends all of the upload once, but for what is persisted.
func (u *upload) attempt(ctx context.Context, persisted *persistedFiles) (*artifactsv1.UploadResponse, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := u.client.conn.NewStream(ctx, &artifactsv1.ArtifactsService_ServiceDesc.Streams[uploadStream],
		artifactsv1.ArtifactsService_Upload_FullMethodName, streamOptions()...)
	if err != nil {
		return nil, err
	}
	s := newSender(ctx, cancel, u, stream, persisted)
	defer s.stall.Stop()
	if err = s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Start{Start: u.start}}); err == nil {
		err = u.body.send(ctx, s)
	}
	if err == nil {
		err = s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Finish{
			Finish: &artifactsv1.UploadFinish{Files: s.files, Bytes: s.bytes},
		}})
	}
	if err != nil && !errors.Is(err, errAnswered) {
		if errors.Is(context.Cause(ctx), errStalled) {
			return nil, failf("the upload stood still for %v: the server at %s takes nothing", u.client.timeout, u.client.url)
		}
		return nil, err
	}
	s.stall.Stop()
	if err == nil {
		if err := stream.CloseSend(); err != nil {
			return nil, err
		}
	}
	response := &artifactsv1.UploadResponse{}
	if err := stream.RecvMsg(response); err != nil {
		return nil, err
	}
	// Only the end of the stream says that the call went well.
	if err := stream.RecvMsg(&artifactsv1.UploadResponse{}); err != io.EOF {
		return nil, err
	}
	return response, nil
}

// uploadStream and downloadStream are places in the service's description.
var uploadStream, downloadStream = streamIndex("Upload"), streamIndex("Download")

func streamIndex(name string) int {
	for i, s := range artifactsv1.ArtifactsService_ServiceDesc.Streams {
		if s.StreamName == name {
			return i
		}
	}
	panic("the service has no stream " + name)
}

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
		return nil, failf("the local path is empty")
	}
	local, err := expandHome(localPath)
	if err != nil {
		return nil, failf("%s: %w", quote(localPath), err)
	}
	if config.symlinks != FollowSymlinks && config.symlinks != PreserveSymlinks {
		return nil, failf("there is no way %d to treat symbolic links", config.symlinks)
	}
	info, err := os.Stat(local)
	if err != nil {
		return nil, linkOrMissing(local, err)
	}
	given := local
	if config.artifactPath != nil {
		given = *config.artifactPath
	}
	root := trimPath(given)
	if config.artifactPath == nil {
		if root, err = defaultArtifactPath(local); err != nil {
			return nil, failf("%s %w", quote(localPath), err)
		}
	}
	if root == "" && info.IsDir() {
		return &treeBody{client: c, local: local, config: config}, nil
	}
	if problem := pathProblem(root); problem != "" {
		return nil, invalidPath(given, problem)
	}
	return &treeBody{client: c, local: local, root: root, config: config}, nil
}

func linkOrMissing(local string, err error) error {
	if info, lerr := os.Lstat(local); lerr == nil && info.Mode().Type() == fs.ModeSymlink {
		return linkFailure(local, err)
	}
	return localFailure(local, err)
}

func (t *treeBody) skipped() int64 { return t.left }

func (t *treeBody) send(ctx context.Context, s *sender) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	warn := t.left == 0
	var left int64
	w := walker{root: t.root, symlinks: t.config.symlinks, skip: func(local string, mode fs.FileMode) {
		left++
		if warn {
			t.client.log().Warn("not uploaded: neither a file, a folder nor a link", "path", local, "kind", kindName(mode))
		}
	}}
	s.meter.report = t.config.progress
	entries, failure := w.entries(ctx, t.local)
	for entry := range entries {
		if err := s.entry(entry); err != nil {
			cancel()
			for range entries { // The walk must have ended before it can begin again.
			}
			return err
		}
	}
	t.left = left
	s.meter.done()
	return failure()
}

