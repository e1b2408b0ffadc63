package artifacts

import (
	"context"
	"crypto/rand"
	"errors"
	"io"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// damagedSends is how often a file is sent in all when the server got other bytes than were sent, or has not what it said it has.
const damagedSends = 3

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
// Errors are of type [*ArtifactsUploadError]; nothing is visible then. A tag that exists ([ReasonTagExists]) is one before any file is sent.
func (c *Client) Upload(ctx context.Context, localPath string, options ...UploadOption) (*UploadResult, error) {
	config := newUploadConfig(options)
	body, err := newTreeBody(c, localPath, config)
	if err != nil {
		return nil, opUpload.wrap(err)
	}
	return c.upload(ctx, config, body)
}

// UploadReader adds one file to a run, whose bytes come from reader until io.EOF. [WithArtifactPath] and [WithSymlinks] have no meaning
// here.
//
// If the connection is lost, the upload goes on from what the server has. A reader that is an io.Seeker is read again from where it
// stood; of any other one the newest 80 MiB are kept for that, which is more than a server has under way. Reading goes on in another
// goroutine, so that cancelling ctx ends the call at once; reader may then still be in its last Read.
//
// Errors are of type [*ArtifactsUploadError]; they wrap an error of reader.
func (c *Client) UploadReader(ctx context.Context, artifactPath string, reader io.Reader, options ...UploadOption) (*UploadResult, error) {
	config := newUploadConfig(options)
	path := trimPath(artifactPath)
	if problem := pathProblem(path); problem != "" {
		return nil, opUpload.wrap(invalidPath(artifactPath, problem))
	}
	body := newReaderBody(path, reader, config.progress)
	defer body.close(ctx)
	return c.upload(ctx, config, body)
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
	// How often files were begun before, of those that were begun more than once.
	tries map[string]uint32
	// How often files had to be sent again because the server has other bytes than it should have, or not those that it said it has.
	damaged map[string]int
}

func (c *Client) upload(ctx context.Context, config uploadConfig, body body) (*UploadResult, error) {
	u := &upload{client: c, id: config.uploadID, body: body, tries: map[string]uint32{}, damaged: map[string]int{}}
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
		if e, ok := err.(*ArtifactsUploadError); ok {
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
	run, tag := config.run, config.tag
	switch {
	case tag != nil && run != nil:
		return nil, failf("run %q and tag %q were both given: an upload goes to a run, or to a new one that the tag names", *run, *tag)
	case tag != nil:
		if problem := nameProblem(*tag); problem != "" {
			return nil, invalidName("tag", *tag, problem)
		}
		start.Target = &artifactsv1.UploadStart_Tag{Tag: *tag}
		return start, nil
	case run == nil && c.run == "":
		return start, nil
	case run == nil:
		run = &c.run
	}
	if problem := nameProblem(*run); problem != "" {
		return nil, invalidName("run", *run, problem)
	}
	start.Target = &artifactsv1.UploadStart_Run{Run: *run}
	return start, nil
}

// run sends the upload until the server has it all. It may have been begun before.
func (u *upload) run(ctx context.Context, begun bool) (*artifactsv1.UploadResponse, error) {
	if err := u.greet(ctx, begun); err != nil {
		return nil, err
	}
	retry := u.client.newRetrier()
	// Bytes that the server had when it was asked last.
	var had int64
	for {
		var persisted *persistedFiles
		if begun {
			has, response, err := u.persistedTotal(ctx)
			if err != nil || response != nil {
				return response, err
			}
			if has > had {
				retry.progressed()
			}
			had = has
			persisted = &persistedFiles{upload: u}
		}
		response, err := u.attempt(ctx, persisted)
		if err == nil {
			return response, nil
		}
		begun = true
		if path := damagedPath(err); path != "" {
			if u.damaged[path]++; u.damaged[path] < damagedSends {
				u.tries[path]++
				continue
			}
		}
		if err := retry.wait(ctx, err); err != nil {
			return nil, err
		}
	}
}

// damagedPath is the file that must be sent again because its bytes are not what they should be; empty if that is not what failed.
func damagedPath(err error) string {
	a := answerOf(err)
	if a.reason != ReasonChecksumMismatch && a.reason != reasonPersistedMissing {
		return ""
	}
	return a.metadata["path"]
}

// begins notes which try of a file is sent: the next one must be a higher one, whoever began those before.
func (u *upload) begins(path string, try uint32) {
	if try > 0 {
		u.tries[path] = try
	}
}

// greet fails early: when there is no server, and when the tag exists. The server decides on the tag again at the end.
func (u *upload) greet(ctx context.Context, begun bool) error {
	first := &retrier{client: u.client}
	tag, tagged := u.start.GetTarget().(*artifactsv1.UploadStart_Tag)
	if !tagged || begun {
		_, err := callWith(ctx, first, u.client.service.GetServerInfo, &artifactsv1.GetServerInfoRequest{})
		return err
	}
	_, err := callWith(ctx, first, u.client.service.GetTag, &artifactsv1.GetTagRequest{Project: u.client.project, Tag: tag.Tag})
	switch {
	case err == nil:
		d := failf("tag %q already exists", tag.Tag)
		d.Reason, d.Metadata = ReasonTagExists, map[string]string{"tag": tag.Tag}
		return d
	case errors.Is(err, ReasonTagNotFound):
		u.client.reached.Store(true)
		return nil
	}
	return err
}

// attempt sends all of the upload once, but for what is persisted.
func (u *upload) attempt(ctx context.Context, persisted *persistedFiles) (*artifactsv1.UploadResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := u.client.conn.NewStream(ctx, uploadStream, artifactsv1.ArtifactsService_Upload_FullMethodName, streamOptions()...)
	if err != nil {
		return nil, err
	}
	s := newSender(ctx, u, stream, persisted)
	err = s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Start{Start: u.start}})
	if err == nil {
		err = u.body.send(ctx, s)
	}
	if err == nil {
		err = s.send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Finish{
			Finish: &artifactsv1.UploadFinish{Files: s.files, Bytes: s.bytes},
		}})
	}
	if err == errAnswered {
		return s.answer, nil
	}
	if err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	return s.receive()
}
