package artifacts

import (
	"context"
	"crypto/rand"
	"time"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// listedPage is how many runs, tags or uploads one answer holds at the most: as many as a server gives.
const listedPage = 1000

// RunInfo describes a run.
type RunInfo struct {
	// Name of the run.
	Name string
	// Commits it has, since it was last deleted.
	Commits uint64
	// NewestCommit is the number of its newest commit.
	NewestCommit uint64
	// Files and links that the newest commit shows.
	Files int64
	// Bytes of those files.
	Bytes int64
	// Created is when its first commit was made, by the server's clock.
	Created time.Time
	// Tags that name it at any commit, sorted.
	Tags []string
}

// Runs gives the project's runs, by name. Errors are of type [*DstackError].
func (c *Client) Runs(ctx context.Context) ([]RunInfo, error) {
	return allPages(func(token string) (*artifactsv1.ListRunsResponse, error) {
		return call(ctx, c, c.service.ListRuns, &artifactsv1.ListRunsRequest{Project: c.project, PageSize: listedPage, PageToken: token})
	}, func(page *artifactsv1.ListRunsResponse) []RunInfo {
		runs := make([]RunInfo, 0, len(page.GetRuns()))
		for _, r := range page.GetRuns() {
			runs = append(runs, runOf(r))
		}
		return runs
	})
}

// GetRun describes one run. Errors are [*RunNotFoundError] or another [*DstackError].
func (c *Client) GetRun(ctx context.Context, name string) (*RunInfo, error) {
	response, err := call(ctx, c, c.service.GetRun, &artifactsv1.GetRunRequest{Project: c.project, Run: name})
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return new(runOf(response.GetRun())), nil
}

// DeleteOption is a setting of [Client.DeleteRun].
type DeleteOption func(*artifactsv1.DeleteRunRequest)

// WithForce deletes a run's tags with it. Default: a run that has tags is not deleted.
func WithForce() DeleteOption { return func(r *artifactsv1.DeleteRunRequest) { r.Force = true } }

// DeleteRun deletes a run with all its commits, and gives the tags that went with it. Later uploads to the name count on from its
// last commit.
//
// Errors are [*RunNotFoundError] or another [*DstackError]; [ReasonRunHasTags]: it has tags, which the error names, and there was no
// [WithForce].
func (c *Client) DeleteRun(ctx context.Context, name string, options ...DeleteOption) (tags []string, err error) {
	request := &artifactsv1.DeleteRunRequest{Project: c.project, Run: name, RequestId: rand.Text()}
	for _, option := range options {
		option(request)
	}
	response, err := call(ctx, c, c.service.DeleteRun, request)
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return response.GetTags(), nil
}

func runOf(r *artifactsv1.Run) RunInfo {
	return RunInfo{
		Name: r.GetName(), Commits: r.GetCommits(), NewestCommit: r.GetNewestCommit(), Files: int64(r.GetFiles()), Bytes: int64(r.GetBytes()),
		Created: r.GetCreated().AsTime(), Tags: r.GetTags(),
	}
}
