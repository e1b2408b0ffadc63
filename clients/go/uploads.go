package artifacts

import (
	"context"
	"time"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// UploadInfo describes an upload that was begun and not finished.
type UploadInfo struct {
	// ID continues it when it is given to another upload of the same files with [WithUploadID].
	ID string
	// Run that it adds to.
	Run string
	// Tag that it makes; empty if none.
	Tag string
	// Created is when it was begun, by the server's clock.
	Created time.Time
	// Finishing says that all of it arrived and its commit was decided, but perhaps not made; continuing it completes it.
	Finishing bool
}

// Uploads gives the project's open uploads, by id. Errors are of type [*DstackError].
func (c *Client) Uploads(ctx context.Context) ([]UploadInfo, error) {
	return allPages(func(token string) (*artifactsv1.ListUploadsResponse, error) {
		return call(ctx, c, c.service.ListUploads, &artifactsv1.ListUploadsRequest{Project: c.project, PageSize: listedPage, PageToken: token})
	}, func(page *artifactsv1.ListUploadsResponse) []UploadInfo {
		uploads := make([]UploadInfo, 0, len(page.GetUploads()))
		for _, u := range page.GetUploads() {
			uploads = append(uploads, UploadInfo{
				ID: u.GetUploadId(), Run: u.GetRun(), Tag: u.GetTag(), Created: u.GetCreated().AsTime(),
				Finishing: u.GetState() == artifactsv1.UploadState_UPLOAD_STATE_FINISHING,
			})
		}
		return uploads
	})
}

// AbortUpload ends an upload so that it can never be committed. Errors are of type [*DstackError]; [ReasonUploadNotFound]: no such upload;
// [ReasonUploadFinished]: it came too late.
func (c *Client) AbortUpload(ctx context.Context, id string) error {
	_, err := call(ctx, c, c.service.AbortUpload, &artifactsv1.AbortUploadRequest{Project: c.project, UploadId: id})
	return opOther.wrap(err)
}

// ServerInfo says what a server is.
type ServerInfo struct {
	// Version as semantic versioning has it.
	Version string
	// Project of calls that name none.
	Project string
	// Run is the current run, of uploads that name none.
	Run string
	// StoreKind is "file", "memory", "s3", "azure" or "gcs".
	StoreKind string
}

// GetServerInfo asks the server what it is. Errors are of type [*DstackError].
func (c *Client) GetServerInfo(ctx context.Context) (*ServerInfo, error) {
	info, err := call(ctx, c, c.service.GetServerInfo, &artifactsv1.GetServerInfoRequest{})
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return &ServerInfo{Version: info.GetVersion(), Project: info.GetProject(), Run: info.GetRun(), StoreKind: info.GetStoreKind()}, nil
}
