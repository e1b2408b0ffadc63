package artifacts

import (
	"context"
	"io"

	"google.golang.org/grpc"

	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// VerifyResult is what a check found.
type VerifyResult struct {
	// Files that were checked, the damaged ones included.
	Files int64
	// Bytes of those files.
	Bytes int64
	// Damaged files.
	Damaged []DamagedFile
}

// DamagedFile is a file that is not as it was uploaded.
type DamagedFile struct {
	// Path of the file.
	Path string
	// Problem says what is wrong with it, for a person to read.
	Problem string
}

// VerifyOption is a setting of [Client.Verify].
type VerifyOption func(*verifyConfig)

type verifyConfig struct{ progress func(Progress) }

// WithVerifyProgress has report called about once a second.
func WithVerifyProgress(report func(Progress)) VerifyOption {
	return func(c *verifyConfig) { c.progress = report }
}

// Verify has the server read every byte of a run or a tag and check it. Damage is not an error but part of the result.
//
// Errors are [*RunNotFoundError], [*TagNotFoundError] or another [*DstackError]. A check whose connection is lost is not taken up again.
func (c *Client) Verify(ctx context.Context, ref Ref, options ...VerifyOption) (*VerifyResult, error) {
	var config verifyConfig
	for _, option := range options {
		option(&config)
	}
	if err := ref.check(); err != nil {
		return nil, opOther.wrap(err)
	}
	var result *VerifyResult
	var damaged []DamagedFile
	request := &artifactsv1.VerifyRequest{Project: c.project, Reference: ref.proto()}
	err := readStream(ctx, c, c.service.Verify, request, func(r *artifactsv1.VerifyResponse) {
		switch m := r.GetMessage().(type) {
		case *artifactsv1.VerifyResponse_Damaged:
			damaged = append(damaged, DamagedFile{m.Damaged.GetPath(), m.Damaged.GetProblem()})
		case *artifactsv1.VerifyResponse_Progress:
			if p := m.Progress; config.progress != nil {
				config.progress(Progress{
					Files: int64(p.GetFiles()), TotalFiles: int64(p.GetTotalFiles()), Bytes: int64(p.GetBytes()), TotalBytes: int64(p.GetTotalBytes()),
				})
			}
		case *artifactsv1.VerifyResponse_Finish:
			result = &VerifyResult{Files: int64(m.Finish.GetFiles()), Bytes: int64(m.Finish.GetBytes())}
		}
	})
	if err == nil && result == nil {
		err = failf("the server ended the check before it was complete")
	}
	if err != nil {
		return nil, opOther.wrap(err)
	}
	result.Damaged = damaged
	return result, nil
}

// readStream gives each message of a server's stream to handle.
func readStream[Request, Response any](
	ctx context.Context, c *Client, m method[Request, grpc.ServerStreamingClient[Response]], request Request, handle func(*Response),
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.wake(ctx)
	stream, err := m(ctx, request)
	for err == nil {
		var response *Response
		if response, err = stream.Recv(); err == nil {
			c.reached.Store(true)
			handle(response)
		}
	}
	switch {
	case err == io.EOF:
		return nil
	case ctx.Err() != nil:
		return cancelled(ctx)
	}
	return c.failure(err, c.reached.Load())
}
