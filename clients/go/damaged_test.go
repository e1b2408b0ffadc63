package artifacts_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// begunFile is what an upload that was cut off had sent of a file.
type begunFile struct {
	path    string
	try     uint32
	content []byte
	// Unset for what came from a reader.
	mtime *timestamppb.Timestamp
}

// beginUpload sends the files' bytes to the run "r" and is cut off behind them; it returns when the server has them.
func beginUpload(t testing.TB, c *artifacts.Client, project, id string, files []begunFile) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stream, err := artifactsv1.NewArtifactsServiceClient(c.Conn()).Upload(testContext(t))
	check(err)
	check(stream.Send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Start{Start: &artifactsv1.UploadStart{
		UploadId: id, Project: project, Target: &artifactsv1.UploadStart_Run{Run: "r"},
	}}}))
	var total int64
	// What comes last has the server write what came before, and stays in its memory.
	for _, f := range append(files, begunFile{path: "zz", content: make([]byte, 20<<20)}) {
		header := &artifactsv1.EntryHeader{Path: f.path, Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Try: f.try, Mtime: f.mtime}
		if f.mtime != nil {
			header.Size = new(uint64(len(f.content)))
		}
		check(stream.Send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_File{File: header}}))
		for rest := f.content; len(rest) > 0; {
			n := min(len(rest), 1<<20)
			check(stream.Send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_Chunk{Chunk: rest[:n]}}))
			rest = rest[n:]
		}
		if f.path != "zz" {
			total += int64(len(f.content))
			end := &artifactsv1.FileEnd{Size: uint64(len(f.content)), Crc32C: crc32.Checksum(f.content, crc32.MakeTable(crc32.Castagnoli))}
			check(stream.Send(&artifactsv1.UploadRequest{Message: &artifactsv1.UploadRequest_FileEnd{FileEnd: end}}))
		}
	}
	waitForPersisted(t, c, project, []artifacts.UploadInfo{{ID: id}}, total)
}

// Whoever changes bytes and keeps size and time has the server keep what it has, until the checksum tells.
func TestWhatIsNotAsItWasSentBeforeIsSentAgain(t *testing.T) {
	t.Parallel()
	then := time.Unix(1_600_000_000, 0)
	for name, c := range map[string]struct {
		files  int
		try    uint32
		reader bool
	}{
		"after its time had changed often": {files: 1, try: 3},
		"though many files are so":         {files: 4},
		"from a reader":                    {files: 1, try: 3, reader: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			project := newProject()
			client := clientOf(t, sharedServer(t), artifacts.WithProject(project))
			dir := t.TempDir()
			var files []begunFile
			for i := range c.files {
				f := begunFile{path: fmt.Sprint("f", i), try: c.try, content: seeded(i, 100_000), mtime: timestamppb.New(then)}
				now := bytes.Clone(f.content)
				copy(now[5_000:], "changed")
				local := filepath.Join(dir, f.path)
				write(t, local, now)
				if err := os.Chtimes(local, then, then); err != nil {
					t.Fatal(err)
				}
				if c.reader {
					f.mtime = nil
				}
				files = append(files, f)
			}
			const id = "an-upload-that-was-cut-off"
			begun := clientOf(t, sharedServer(t), artifacts.WithProject(project))
			beginUpload(t, begun, project, id, files)
			begun.Close()
			var err error
			if c.reader {
				content, rerr := os.ReadFile(filepath.Join(dir, "f0"))
				if rerr != nil {
					t.Fatal(rerr)
				}
				_, err = client.UploadReader(testContext(t), "f0", bytes.NewReader(content), artifacts.WithRun("r"), artifacts.WithUploadID(id))
			} else {
				_, err = client.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r"), artifacts.WithUploadID(id))
			}
			if err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			if _, err := client.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
				t.Fatal(err)
			}
			sameTree(t, dir, out)
		})
	}
}

// forgetfulServer says that it has bytes of files which it hasn't.
type forgetfulServer struct {
	hostileServer
	files []*artifactsv1.PersistedFile
}

func (s *forgetfulServer) GetUpload(context.Context, *artifactsv1.GetUploadRequest) (*artifactsv1.GetUploadResponse, error) {
	return &artifactsv1.GetUploadResponse{Upload: &artifactsv1.Upload{}, Files: s.files}, nil
}

func (s *forgetfulServer) Upload(stream artifactsv1.ArtifactsService_UploadServer) error {
	path := ""
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := request.GetMessage().(type) {
		case *artifactsv1.UploadRequest_File:
			path = m.File.GetPath()
		case *artifactsv1.UploadRequest_Skip:
			return refusal(codes.FailedPrecondition, "PERSISTED_MISSING", map[string]string{"path": path})
		case *artifactsv1.UploadRequest_Finish:
			return stream.SendAndClose(&artifactsv1.UploadResponse{Run: "r", Commit: 1, Files: m.Finish.GetFiles(), Bytes: m.Finish.GetBytes()})
		}
	}
}

func TestWhatAServerLostIsSentAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	forgetful := &forgetfulServer{}
	for i := range 4 {
		path := fmt.Sprint("f", i)
		write(t, filepath.Join(dir, path), seeded(i, 1000))
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		forgetful.files = append(forgetful.files, &artifactsv1.PersistedFile{
			Path: path, Try: 3, Size: new(uint64(1000)), Mtime: timestamppb.New(info.ModTime()), Spans: []*artifactsv1.ByteSpan{{Length: 1000}},
		})
	}
	c := clientOf(t, serve(t, forgetful))
	options := []artifacts.UploadOption{artifacts.WithRun("r"), artifacts.WithUploadID("an-upload-of-before")}
	if u, err := c.Upload(testContext(t), dir, append(options, artifacts.WithArtifactPath(""))...); err != nil || u.Bytes != 4000 {
		t.Errorf("%+v, %v", u, err)
	}
	for name, reader := range map[string]io.Reader{"a seeker": bytes.NewReader(seeded(0, 1000)), "none": plain{bytes.NewReader(seeded(0, 1000))}} {
		if u, err := c.UploadReader(testContext(t), "f0", reader, options...); err != nil || u.Bytes != 1000 {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}
