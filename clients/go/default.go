package artifacts

import (
	"context"
	"io"
	"io/fs"
	"sync"
)

var defaults struct {
	sync.Mutex
	client *Client
	of     environment
}

// environment is what a default client was made from.
type environment struct{ url, token, project, run string }

// defaultClient gives the client that the environment describes; the same one as long as that stays the same.
func defaultClient() (*Client, error) {
	config := environmentConfig()
	now := environment{config.url, config.token, config.project, config.run}
	d := &defaults
	d.Lock()
	defer d.Unlock()
	if d.client != nil && d.of == now {
		return d.client, nil
	}
	client, err := NewClient()
	if err != nil {
		return nil, err
	}
	// The one before may be in use, so it isn't closed; without calls its connection goes idle by itself.
	d.client, d.of = client, now
	return client, nil
}

// with calls a method of the default client.
func with[Result any](op operation, method func(*Client) (Result, error)) (Result, error) {
	client, err := defaultClient()
	if err != nil {
		var none Result
		return none, op.wrap(err)
	}
	return method(client)
}

// Upload is [Client.Upload] of a client made from the environment.
func Upload(ctx context.Context, localPath string, options ...UploadOption) (*UploadResult, error) {
	return with(opUpload, func(c *Client) (*UploadResult, error) { return c.Upload(ctx, localPath, options...) })
}

// UploadReader is [Client.UploadReader] of a client made from the environment.
func UploadReader(ctx context.Context, artifactPath string, reader io.Reader, options ...UploadOption) (*UploadResult, error) {
	return with(opUpload, func(c *Client) (*UploadResult, error) { return c.UploadReader(ctx, artifactPath, reader, options...) })
}

// Download is [Client.Download] of a client made from the environment.
func Download(ctx context.Context, ref Ref, options ...DownloadOption) (*DownloadResult, error) {
	return with(opDownload, func(c *Client) (*DownloadResult, error) { return c.Download(ctx, ref, options...) })
}

// DownloadWriter is [Client.DownloadWriter] of a client made from the environment.
func DownloadWriter(ctx context.Context, ref Ref, artifactPath string, writer io.Writer) (*DownloadResult, error) {
	return with(opDownload, func(c *Client) (*DownloadResult, error) { return c.DownloadWriter(ctx, ref, artifactPath, writer) })
}

// Open is [Client.Open] of a client made from the environment.
func Open(ctx context.Context, ref Ref, artifactPath string) (*File, error) {
	return with(opDownload, func(c *Client) (*File, error) { return c.Open(ctx, ref, artifactPath) })
}

// FS is [Client.FS] of a client made from the environment.
func FS(ctx context.Context, ref Ref) (fs.FS, error) {
	return with(opDownload, func(c *Client) (fs.FS, error) { return c.FS(ctx, ref) })
}

// List is [Client.List] of a client made from the environment.
func List(ctx context.Context, ref Ref, options ...ListOption) (*Listing, error) {
	return with(opOther, func(c *Client) (*Listing, error) { return c.List(ctx, ref, options...) })
}

// Runs is [Client.Runs] of a client made from the environment.
func Runs(ctx context.Context) ([]RunInfo, error) {
	return with(opOther, func(c *Client) ([]RunInfo, error) { return c.Runs(ctx) })
}

// GetRun is [Client.GetRun] of a client made from the environment.
func GetRun(ctx context.Context, name string) (*RunInfo, error) {
	return with(opOther, func(c *Client) (*RunInfo, error) { return c.GetRun(ctx, name) })
}

// DeleteRun is [Client.DeleteRun] of a client made from the environment.
func DeleteRun(ctx context.Context, name string, options ...DeleteOption) (tags []string, err error) {
	return with(opOther, func(c *Client) ([]string, error) { return c.DeleteRun(ctx, name, options...) })
}

// Tags is [Client.Tags] of a client made from the environment.
func Tags(ctx context.Context) ([]TagInfo, error) {
	return with(opOther, func(c *Client) ([]TagInfo, error) { return c.Tags(ctx) })
}

// GetTag is [Client.GetTag] of a client made from the environment.
func GetTag(ctx context.Context, name string) (*TagInfo, error) {
	return with(opOther, func(c *Client) (*TagInfo, error) { return c.GetTag(ctx, name) })
}

// CreateTag is [Client.CreateTag] of a client made from the environment.
func CreateTag(ctx context.Context, name string, run Ref, options ...TagOption) (*TagInfo, error) {
	return with(opOther, func(c *Client) (*TagInfo, error) { return c.CreateTag(ctx, name, run, options...) })
}

// DeleteTag is [Client.DeleteTag] of a client made from the environment.
func DeleteTag(ctx context.Context, name string) error {
	_, err := with(opOther, func(c *Client) (any, error) { return nil, c.DeleteTag(ctx, name) })
	return err
}

// Copy is [Client.Copy] of a client made from the environment.
func Copy(ctx context.Context, from Ref, artifactPath, toRun string, options ...CopyOption) (*CopyResult, error) {
	return with(opOther, func(c *Client) (*CopyResult, error) { return c.Copy(ctx, from, artifactPath, toRun, options...) })
}

// Verify is [Client.Verify] of a client made from the environment.
func Verify(ctx context.Context, ref Ref, options ...VerifyOption) (*VerifyResult, error) {
	return with(opOther, func(c *Client) (*VerifyResult, error) { return c.Verify(ctx, ref, options...) })
}
