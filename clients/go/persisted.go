package artifacts

import (
	"context"
	"errors"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// persistedPage is how many files one answer tells of.
const persistedPage = 1000

func (u *upload) getUpload(ctx context.Context, token string) (*artifactsv1.GetUploadResponse, error) {
	return call(ctx, u.client, u.client.service.GetUpload, &artifactsv1.GetUploadRequest{
		Project: u.client.project, UploadId: u.id, PageSize: persistedPage, PageToken: token,
	})
}

// persistedTotal counts the bytes that the server has, or gives the answer of an upload that is committed.
func (u *upload) persistedTotal(ctx context.Context) (int64, *artifactsv1.UploadResponse, error) {
	var total int64
	for token := ""; ; {
		page, err := u.getUpload(ctx, token)
		if errors.Is(err, ReasonUploadNotFound) {
			return 0, nil, nil // It was cut off before the server had begun it.
		}
		if err != nil {
			return 0, nil, err
		}
		if page.GetUpload().GetState() == artifactsv1.UploadState_UPLOAD_STATE_COMMITTED && page.GetUpload().GetResponse() != nil {
			return 0, page.GetUpload().GetResponse(), nil
		}
		for _, file := range page.GetFiles() {
			for _, span := range file.GetSpans() {
				total += int64(span.GetLength())
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return total, nil, nil
		}
	}
}

// persistedFiles tells of each file what the server has of it. Files are asked for in the order of their paths, which is the server's,
// so that no more than a page is held.
type persistedFiles struct {
	upload *upload
	ctx    context.Context
	page   []*artifactsv1.PersistedFile
	token  string
	last   bool
}

// find gives what is persisted of a file, nil if nothing.
func (p *persistedFiles) find(path string) (*artifactsv1.PersistedFile, error) {
	if p == nil {
		return nil, nil
	}
	for {
		for len(p.page) > 0 && comparePaths(p.page[0].GetPath(), path) < 0 {
			p.page = p.page[1:]
		}
		if len(p.page) > 0 {
			if p.page[0].GetPath() == path {
				return p.page[0], nil
			}
			return nil, nil
		}
		if p.last {
			return nil, nil
		}
		page, err := p.upload.getUpload(p.ctx, p.token)
		if errors.Is(err, ReasonUploadNotFound) {
			p.last = true
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		p.page, p.token = page.GetFiles(), page.GetNextPageToken()
		p.last = p.token == ""
	}
}
