package artifacts

import (
	"context"
	"crypto/rand"
	"time"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// TagInfo describes a tag.
type TagInfo struct {
	// Name of the tag.
	Name string
	// Run that it names.
	Run string
	// Commit that it shows.
	Commit uint64
	// Path is the file, or the folder whose contents, it shows, at the paths they have in the run; empty for everything.
	Path string
	// Created is when it was made, by the server's clock.
	Created time.Time
}

// Tags gives the project's tags, by name. Errors are of type [*DstackError].
func (c *Client) Tags(ctx context.Context) ([]TagInfo, error) {
	return allPages(func(token string) (*artifactsv1.ListTagsResponse, error) {
		return call(ctx, c, c.service.ListTags, &artifactsv1.ListTagsRequest{Project: c.project, PageSize: listedPage, PageToken: token})
	}, func(page *artifactsv1.ListTagsResponse) []TagInfo {
		tags := make([]TagInfo, 0, len(page.GetTags()))
		for _, t := range page.GetTags() {
			tags = append(tags, tagOf(t))
		}
		return tags
	})
}

// GetTag describes one tag. Errors are [*TagNotFoundError] or another [*DstackError].
func (c *Client) GetTag(ctx context.Context, name string) (*TagInfo, error) {
	response, err := call(ctx, c, c.service.GetTag, &artifactsv1.GetTagRequest{Project: c.project, Tag: name})
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return new(tagOf(response.GetTag())), nil
}

// TagOption is a setting of [Client.CreateTag].
type TagOption func(*artifactsv1.CreateTagRequest)

// WithTagPath has the tag show only this file, or what is in this folder. Default: everything.
func WithTagPath(path string) TagOption {
	return func(r *artifactsv1.CreateTagRequest) { r.Path = path }
}

// CreateTag creates a tag for a run, at its newest commit or the one that [Ref.At] says.
//
// Errors are [*RunNotFoundError] or another [*DstackError]; [ReasonTagExists]: the tag exists; [ReasonPathNotFound]: nothing is at the
// path.
func (c *Client) CreateTag(ctx context.Context, name string, run Ref, options ...TagOption) (*TagInfo, error) {
	if run.kind != runRef {
		return nil, opOther.wrap(failf("tag %q: a tag is made for a run, given by artifacts.Run", name))
	}
	if err := run.check(); err != nil {
		return nil, opOther.wrap(err)
	}
	request := &artifactsv1.CreateTagRequest{Project: c.project, Tag: name, Run: run.name, Commit: run.commit, RequestId: rand.Text()}
	for _, option := range options {
		option(request)
	}
	response, err := call(ctx, c, c.service.CreateTag, request)
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return new(tagOf(response.GetTag())), nil
}

// DeleteTag deletes a tag; its run stays. Errors are [*TagNotFoundError] or another [*DstackError].
func (c *Client) DeleteTag(ctx context.Context, name string) error {
	_, err := call(ctx, c, c.service.DeleteTag, &artifactsv1.DeleteTagRequest{Project: c.project, Tag: name, RequestId: rand.Text()})
	return opOther.wrap(err)
}

func tagOf(t *artifactsv1.Tag) TagInfo {
	return TagInfo{Name: t.GetName(), Run: t.GetRun(), Commit: t.GetCommit(), Path: t.GetPath(), Created: t.GetCreated().AsTime()}
}
