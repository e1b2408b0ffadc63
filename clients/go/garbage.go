package artifacts

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// GarbageResult is what a collection did, or with [WithDryRun] would do.
type GarbageResult struct {
	// ScannedObjects were looked at.
	ScannedObjects int64
	// CondemnedObjects were found unreachable; a collection a grace period later deletes them if they still are.
	CondemnedObjects int64
	// CondemnedBytes are their bytes.
	CondemnedBytes int64
	// DeletedObjects were deleted.
	DeletedObjects int64
	// DeletedBytes are their bytes.
	DeletedBytes int64
}

// GarbageOption is a setting of [Client.CollectGarbage].
type GarbageOption func(*artifactsv1.CollectGarbageRequest)

// WithGrace says how long an object must have been unreachable. Default: 24 hours. With 0, what is found is deleted at once, which is
// safe only while nothing else writes to the store.
func WithGrace(grace time.Duration) GarbageOption {
	return func(r *artifactsv1.CollectGarbageRequest) { r.Grace = durationpb.New(grace) }
}

// WithDryRun changes nothing and tells what would be condemned and deleted.
func WithDryRun() GarbageOption {
	return func(r *artifactsv1.CollectGarbageRequest) { r.DryRun = true }
}

// CollectGarbage removes what no run or tag of any project reaches and is older than a grace period. Errors are of type [*DstackError].
func (c *Client) CollectGarbage(ctx context.Context, options ...GarbageOption) (*GarbageResult, error) {
	request := &artifactsv1.CollectGarbageRequest{}
	for _, option := range options {
		option(request)
	}
	var result *GarbageResult
	err := readStream(ctx, c, c.service.CollectGarbage, request, func(r *artifactsv1.CollectGarbageResponse) {
		if r.GetDone() {
			result = &GarbageResult{
				ScannedObjects:   int64(r.GetScannedObjects()),
				CondemnedObjects: int64(r.GetCondemnedObjects()), CondemnedBytes: int64(r.GetCondemnedBytes()),
				DeletedObjects: int64(r.GetDeletedObjects()), DeletedBytes: int64(r.GetDeletedBytes()),
			}
		}
	})
	if err == nil && result == nil {
		err = failf("the server ended the collection before it was complete")
	}
	if err != nil {
		return nil, opOther.wrap(err)
	}
	return result, nil
}
