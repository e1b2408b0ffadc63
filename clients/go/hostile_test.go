package artifacts_test

import (
	"context"
	"errors"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// hostileServer sends what no server of ours does.
type hostileServer struct {
	artifactsv1.UnimplementedArtifactsServiceServer
	messages []*artifactsv1.DownloadResponse
	// Called before a message of the first download is sent.
	before map[int]func()
	called atomic.Bool
	// What downloads end with.
	failure error
}

// serve runs a server until the test ends, for clients of any user.
func serve(t *testing.T, implementation artifactsv1.ArtifactsServiceServer) *server {
	t.Helper()
	dir := shortDir(t)
	path := filepath.Join(dir, "s.sock")
	listener, err := net.Listen("unix", path)
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	service := grpc.NewServer()
	artifactsv1.RegisterArtifactsServiceServer(service, implementation)
	go service.Serve(listener)
	t.Cleanup(service.Stop)
	return &server{url: "unix://" + path}
}

func (s *hostileServer) GetServerInfo(context.Context, *artifactsv1.GetServerInfoRequest) (*artifactsv1.GetServerInfoResponse, error) {
	return &artifactsv1.GetServerInfoResponse{}, nil
}

func (s *hostileServer) ListEntries(context.Context, *artifactsv1.ListEntriesRequest) (*artifactsv1.ListEntriesResponse, error) {
	return &artifactsv1.ListEntriesResponse{Run: "r", Commit: 1}, nil
}

func (s *hostileServer) Download(_ *artifactsv1.DownloadRequest, stream artifactsv1.ArtifactsService_DownloadServer) error {
	first := s.called.CompareAndSwap(false, true)
	for i, message := range s.messages {
		if act := s.before[i]; act != nil && first {
			act()
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return s.failure
}

// refusal is an error as servers send it.
func refusal(code codes.Code, reason string, metadata map[string]string) error {
	s, err := status.New(code, "no").WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "artifacts.dstack.ai", Metadata: metadata})
	if err != nil {
		return err
	}
	return s.Err()
}

func start(run string, commit uint64) *artifactsv1.DownloadResponse {
	return &artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Start{Start: &artifactsv1.DownloadStart{Run: run, Commit: commit}}}
}

// fileOf is the header, the byte and the end of a file of one byte.
func fileOf(path string) []*artifactsv1.DownloadResponse { return fileIn(path, []byte("x")) }

// fileIn is a file's header, its chunks and its end.
func fileIn(path string, chunks ...[]byte) []*artifactsv1.DownloadResponse {
	content := slices.Concat(chunks...)
	size, crc := uint64(len(content)), crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	header := &artifactsv1.EntryHeader{Path: path, Type: artifactsv1.EntryType_ENTRY_TYPE_FILE, Size: &size, Crc32C: &crc}
	messages := []*artifactsv1.DownloadResponse{{Message: &artifactsv1.DownloadResponse_File{File: header}}}
	for _, chunk := range chunks {
		messages = append(messages, &artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Chunk{Chunk: chunk}})
	}
	end := &artifactsv1.FileEnd{Size: size, Crc32C: crc}
	return append(messages, &artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_FileEnd{FileEnd: end}})
}

func folderOf(path string, mode uint32) *artifactsv1.DownloadResponse {
	header := &artifactsv1.EntryHeader{Path: path, Type: artifactsv1.EntryType_ENTRY_TYPE_FOLDER, Mode: &mode}
	return &artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_File{File: header}}
}

func linkOf(path, target string) *artifactsv1.DownloadResponse {
	header := &artifactsv1.EntryHeader{Path: path, Type: artifactsv1.EntryType_ENTRY_TYPE_LINK, LinkTarget: target}
	return &artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_File{File: header}}
}

func finish(files uint64) *artifactsv1.DownloadResponse {
	return &artifactsv1.DownloadResponse{Message: &artifactsv1.DownloadResponse_Finish{Finish: &artifactsv1.DownloadFinish{Files: files}}}
}

func TestNothingAServerSendsIsWrittenOutside(t *testing.T) {
	t.Parallel()
	of := func(parts ...[]*artifactsv1.DownloadResponse) []*artifactsv1.DownloadResponse {
		all := []*artifactsv1.DownloadResponse{start("r", 1)}
		for _, part := range parts {
			all = append(all, part...)
		}
		return append(all, finish(uint64(len(parts))))
	}
	one := func(m *artifactsv1.DownloadResponse) []*artifactsv1.DownloadResponse {
		return []*artifactsv1.DownloadResponse{m}
	}
	outside := t.TempDir()
	const sound = "an answer that is right"
	for name, messages := range map[string][]*artifactsv1.DownloadResponse{
		sound:                             of(fileOf("a"), fileOf("b/c")),
		"a path that leads out":           of(fileOf("../x")),
		"a path that leads out later":     of(fileOf("a/../../x")),
		"an absolute path":                of(fileOf(outside + "/x")),
		"the root":                        of(fileOf("")),
		"a path with a NUL":               of(fileOf("a\x00b")),
		"a path that is too long":         of(fileOf(strings.Repeat("a/", 1000) + "b")),
		"a link that leads out":           of(one(linkOf("l", "../x"))),
		"a link to anywhere":              of(one(linkOf("l", "/etc"))),
		"a link and a file behind it":     of(one(linkOf("l", "d")), fileOf("l/x")),
		"paths out of order":              of(fileOf("b"), fileOf("a")),
		"a path twice":                    of(fileOf("a"), fileOf("a")),
		"a file that lies in a file":      of(fileOf("a"), fileOf("a/b")),
		"more bytes than announced":       {start("r", 1), fileOf("a")[0], fileOf("a")[1], fileOf("a")[1], fileOf("a")[2], finish(1)},
		"fewer bytes than announced":      {start("r", 1), fileOf("a")[0], fileOf("a")[2], finish(1)},
		"bytes of no file":                {start("r", 1), fileOf("a")[1], finish(0)},
		"an end of no file":               {start("r", 1), fileOf("a")[2], finish(0)},
		"a file without its end":          {start("r", 1), fileOf("a")[0], finish(1)},
		"a file before another has ended": {start("r", 1), fileOf("a")[0], fileOf("b")[0], finish(2)},
		"fewer files than announced":      {start("r", 1), finish(1)},
		"another commit than was listed":  {start("r", 2), finish(0)},
		"a message of nothing":            {start("r", 1), {}, finish(0)},
		"more behind the last message":    {start("r", 1), finish(0), finish(0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, serve(t, &hostileServer{messages: messages}))
			out := filepath.Join(t.TempDir(), "a/b")
			_, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out))
			if name == sound {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if _, ok := errors.AsType[*artifacts.ArtifactsDownloadError](err); !ok {
				t.Errorf("%T: %v", err, err)
			}
			for _, above := range []string{filepath.Dir(out), filepath.Dir(filepath.Dir(out))} {
				if entries, err := os.ReadDir(above); err != nil || len(entries) != 1 {
					t.Errorf("%v, %v", entries, err)
				}
			}
			if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
				t.Errorf("%v, %v", entries, err)
			}
		})
	}
}

// A server that dies whenever it is asked for a certain file says much, but nothing comes of it.
func TestDownloadsGiveUpWhenNoByteArrives(t *testing.T) {
	t.Parallel()
	for name, messages := range map[string][]*artifactsv1.DownloadResponse{
		"behind the start":  {start("r", 1)},
		"behind the header": {start("r", 1), fileOf("a")[0]},
		"before any byte":   {start("r", 1), fileOf("a")[0], {Message: &artifactsv1.DownloadResponse_Chunk{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostile := &hostileServer{messages: messages, failure: status.Error(codes.Unavailable, "it died")}
			c := clientOf(t, serve(t, hostile), artifacts.WithTimeout(500*time.Millisecond))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := c.Download(ctx, artifacts.Run("r"), artifacts.WithLocalPath(t.TempDir()))
			if e, ok := errors.AsType[*artifacts.ArtifactsDownloadError](err); !ok || !strings.Contains(e.Message, "it died") {
				t.Errorf("%T: %v", err, err)
			}
		})
	}
}
