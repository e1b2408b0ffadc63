package artifacts

import (
	"context"
	"crypto/rand"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// CopyResult is the commit that a copy added.
type CopyResult struct {
	// Run that was added to.
	Run string
	// Commit is its number in the run.
	Commit uint64
	// Files in the commit, links included.
	Files int64
	// Bytes of those files.
	Bytes int64
}

// CopyOption is a setting of [Client.Copy].
type CopyOption func(*artifactsv1.CopyRequest)

// WithDestination says where a folder's contents go in the run, or what a file becomes; "", "." and "/" are the run's root. Default: the
// paths that they have where they come from.
func WithDestination(path string) CopyOption {
	return func(r *artifactsv1.CopyRequest) { r.Path = new(path) }
}

// Copy adds a file, or a folder's contents, of a run or a tag to a run of the same project, in the store, as one commit. artifactPath
// "" means everything. The run is made if need be.
//
// Errors are [*RunNotFoundError], [*TagNotFoundError] or another [*DstackError]; [ReasonPathNotFound]: nothing is at artifactPath.
func (c *Client) Copy(ctx context.Context, from Ref, artifactPath, toRun string, options ...CopyOption) (*CopyResult, error) {
	if err := from.check(); err != nil {
		return nil, opOther.wrap(err)
	}
	request := &artifactsv1.CopyRequest{
		Project: c.project, Source: from.proto(), SourcePath: artifactPath, Run: toRun, RequestId: rand.Text(),
	}
	for _, option := range options {
		option(request)
	}
	response, err := call(ctx, c, c.service.Copy, request)
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return &CopyResult{
		Run: response.GetRun(), Commit: response.GetCommit(), Files: int64(response.GetFiles()), Bytes: int64(response.GetBytes()),
	}, nil
}
