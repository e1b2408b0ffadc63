package artifacts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// childArgument has the test's program be a client of its own, which can be killed.
const childArgument = "as-a-client"

// runChild does what its arguments say: upload URL PROJECT LOCAL RUN, download URL PROJECT RUN LOCAL, or pipe URL PROJECT RUN FILE, which
// uploads a file by a reader that can't seek and downloads it by a writer.
func runChild(args []string) int {
	ctx := context.Background()
	c, err := artifacts.NewClient(artifacts.WithURL(args[1]), artifacts.WithProject(args[2]))
	switch {
	case err != nil:
	case args[0] == "upload":
		_, err = c.Upload(ctx, args[3], artifacts.WithArtifactPath(""), artifacts.WithRun(args[4]))
	case args[0] == "download":
		_, err = c.Download(ctx, artifacts.Run(args[3]), artifacts.WithLocalPath(args[4]))
	case args[0] == "pipe":
		var file *os.File
		if file, err = os.Open(args[4]); err == nil {
			_, err = c.UploadReader(ctx, "f", plain{file}, artifacts.WithRun(args[3]))
		}
		if err == nil {
			_, err = c.DownloadWriter(ctx, artifacts.Run(args[3]), "f", io.Discard)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// startChild runs the program as a client; kill ends it as the system does when memory runs out.
func startChild(t testing.TB, args ...string) (kill func() bool, wait func() error) {
	t.Helper()
	command := exec.Command(os.Args[0], append([]string{childArgument}, args...)...)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		_ = command.Process.Kill()
		return true
	}, command.Wait
}

func TestAnUploadKilledAtAnyPointLeavesNothingAndGoesOn(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	dir := writeTree(t, largeBytes)
	for _, at := range []int64{2_000, 1 << 20, 25 << 20} {
		project := newProject()
		c := p.client(t, artifacts.WithProject(project))
		killed := make(chan struct{})
		var kill func() bool
		started := make(chan struct{})
		p.up.at(at, func() bool {
			<-started
			defer close(killed)
			return kill()
		})
		kill, wait := startChild(t, "upload", p.url, project, dir, "r")
		close(started)
		if err := wait(); err == nil {
			t.Fatal("it was not killed")
		}
		<-killed
		p.up.set(nil)
		if runs, err := c.Runs(testContext(t)); err != nil || len(runs) > 0 {
			t.Errorf("killed at %d: %+v, %v", at, runs, err)
		}
		uploads, err := c.Uploads(testContext(t))
		options := []artifacts.UploadOption{artifacts.WithArtifactPath(""), artifacts.WithRun("r")}
		switch {
		case err == nil && len(uploads) == 1 && uploads[0].Run == "r":
			options = append(options, artifacts.WithUploadID(uploads[0].ID))
		case err != nil || len(uploads) > 0 || at > 1<<20: // So early the server may not have begun it.
			t.Fatalf("killed at %d: %+v, %v", at, uploads, err)
		}
		// Only what was in the buffers on the way is sent twice: the server keeps what it has, once it has noticed.
		kept := max(at-8<<20, 0)
		waitForPersisted(t, c, project, uploads, kept)
		p.up.set(nil)
		u, err := c.Upload(testContext(t), dir, options...)
		if err != nil || u.Commit != 1 || u.Files != 41 {
			t.Fatalf("killed at %d: %+v, %v", at, u, err)
		}
		if sent := p.up.bytes.Load(); sent > u.Bytes-kept+1<<20 {
			t.Errorf("killed at %d: %d bytes were sent for the rest", at, sent)
		}
		out := t.TempDir()
		if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
			t.Fatal(err)
		}
		sameTree(t, dir, out)
	}
}

// waitForPersisted returns when the server has so many bytes of the upload.
func waitForPersisted(t testing.TB, c *artifacts.Client, project string, uploads []artifacts.UploadInfo, bytes int64) {
	t.Helper()
	service := artifactsv1.NewArtifactsServiceClient(c.Conn())
	for has := int64(0); has < bytes; time.Sleep(10 * time.Millisecond) {
		page, err := service.GetUpload(testContext(t), &artifactsv1.GetUploadRequest{Project: project, UploadId: uploads[0].ID})
		if err != nil {
			t.Fatal(err)
		}
		has = 0
		for _, file := range page.GetFiles() {
			for _, span := range file.GetSpans() {
				has += int64(span.GetLength())
			}
		}
	}
}

func TestADownloadKilledAtAnyPointLeavesWholeFilesAndGoesOn(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	project := newProject()
	c := p.client(t, artifacts.WithProject(project))
	dir := writeTree(t, largeBytes)
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{2_000, 1 << 20, 25 << 20} {
		out := t.TempDir()
		var kill func() bool
		started := make(chan struct{})
		p.down.at(at, func() bool {
			<-started
			return kill()
		})
		kill, wait := startChild(t, "download", p.url, project, "r", out)
		close(started)
		if err := wait(); err == nil {
			t.Fatal("it was not killed")
		}
		wholeFiles(t, dir, out)
		p.down.set(nil)
		if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
			t.Fatal(err)
		}
		// What the system had not taken from the pipe by then is lost.
		if got := p.down.bytes.Load(); got > largeBytes-at+8<<20 {
			t.Errorf("killed at %d: %d bytes were fetched for the rest", at, got)
		}
		sameTree(t, dir, out)
	}
}

// wholeFiles checks that every file of a download is one of those that were uploaded, or is a partial one.
func wholeFiles(t testing.TB, want, got string) {
	t.Helper()
	err := filepath.WalkDir(got, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".partial") {
			return err
		}
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(want, strings.TrimPrefix(path, got)))
		if err == nil && string(a) != string(b) {
			err = errors.New(path + " is half a file")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
