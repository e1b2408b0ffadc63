package artifacts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// A file that is still under way when its first bytes have arrived: larger than all windows and buffers on the way.
const largeBytes = 32 << 20

// writeTree makes a folder with one large file between small ones.
func writeTree(t testing.TB, large int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 20 {
		write(t, filepath.Join(dir, "a", fmt.Sprint(i)), seeded(i, 1000))
	}
	write(t, filepath.Join(dir, "b"), repeated(large))
	for i := range 20 {
		write(t, filepath.Join(dir, "c", fmt.Sprint(i)), seeded(i, 1000))
	}
	return dir
}

// repeated makes many bytes quickly, which differ from block to block.
func repeated(size int) []byte {
	out := make([]byte, 0, size+1<<16)
	block := seeded(1, 1<<16)
	for len(out) < size {
		copy(block, fmt.Sprint(len(out)))
		out = append(out, block...)
	}
	return out[:size]
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sameTree compares two folders, whose names and bytes must be the same.
func sameTree(t testing.TB, want, got string) {
	t.Helper()
	for _, pair := range [][2]string{{want, got}, {got, want}} {
		err := filepath.WalkDir(pair[0], func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			other := filepath.Join(pair[1], strings.TrimPrefix(path, pair[0]))
			if d.IsDir() {
				_, err = os.Stat(other)
				return err
			}
			a, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(other)
			if err == nil && !bytes.Equal(a, b) {
				err = fmt.Errorf("%s is not %s", other, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestUploadGoesOnWhereTheConnectionWasCut(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	dir := writeTree(t, largeBytes)
	for _, at := range []int64{2_000, 30_000, 20 << 20} {
		run := fmt.Sprint("cut-at-", at)
		p.up.at(at, cut)
		u, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun(run))
		if err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		if u.Files != 41 || u.Bytes != largeBytes+40_000 || u.Commit != 1 {
			t.Errorf("%s: %+v", run, u)
		}
		out := t.TempDir()
		if _, err := c.Download(testContext(t), artifacts.Run(run), artifacts.WithLocalPath(out)); err != nil {
			t.Fatal(err)
		}
		sameTree(t, dir, out)
	}
}

func TestUploadIsCommittedOnceWhenItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, repeated(2<<20))
	// Nothing else that comes back names the run.
	cutOnce := false
	p.down.set(func(_ int64, data []byte) bool {
		if !cutOnce && bytes.Contains(data, []byte("the-answer")) {
			cutOnce = true
			return false
		}
		return true
	})
	u, err := c.Upload(testContext(t), file, artifacts.WithArtifactPath("f"), artifacts.WithRun("the-answer"))
	if err != nil || u.Commit != 1 || u.Files != 1 {
		t.Fatalf("%+v, %v", u, err)
	}
	if !cutOnce {
		t.Fatal("the answer was not cut off")
	}
	run, err := c.GetRun(testContext(t), "the-answer")
	if err != nil || run.Commits != 1 {
		t.Errorf("%+v, %v", run, err)
	}
}

func TestDownloadGoesOnWhereTheConnectionWasCut(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	dir := writeTree(t, largeBytes)
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{2_000, 30_000, 20 << 20} {
		out := t.TempDir()
		p.down.at(at, cut)
		d, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out))
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		if d.Files != 41 || d.Bytes != largeBytes+40_000 {
			t.Errorf("cut at %d: %+v", at, d)
		}
		if got := p.down.bytes.Load(); got > d.Bytes+4<<20 {
			t.Errorf("cut at %d: %d bytes went over the wire for %d", at, got, d.Bytes)
		}
		sameTree(t, dir, out)
	}
}

func TestTransfersSurviveARestartOfTheServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	p := startProxy(t, s)
	c := p.client(t)
	dir := writeTree(t, largeBytes)
	restart := func() bool {
		s.restart(t)
		return false
	}
	for i, at := range []int64{10_000, 20 << 20} {
		run, out := fmt.Sprint("r", i), t.TempDir()
		p.up.at(at, restart)
		if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun(run)); err != nil {
			t.Fatal(err)
		}
		p.up.set(nil)
		p.down.at(at, restart)
		if _, err := c.Download(testContext(t), artifacts.Run(run), artifacts.WithLocalPath(out)); err != nil {
			t.Fatal(err)
		}
		p.down.set(nil)
		sameTree(t, dir, out)
	}
}

func TestTransfersGiveUpWhenTimePassesWithoutProgress(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	p := startProxy(t, s)
	c := p.client(t, artifacts.WithTimeout(time.Second))
	dir := writeTree(t, largeBytes)
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	kill := func() bool {
		s.end(syscall.SIGKILL)
		return false
	}
	out := t.TempDir()
	p.down.at(10<<20, kill)
	_, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out))
	if e, ok := errors.AsType[*artifacts.ArtifactsDownloadError](err); !ok || !strings.Contains(e.Message, "was lost") {
		t.Errorf("%T: %v", err, err)
	}
	// Whole files or none; what came of the large one is kept under another name.
	for _, name := range []string{"a/0", "a/19"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "b")); err == nil {
		t.Error("b is there")
	}
	if partials, _ := filepath.Glob(filepath.Join(out, ".*.partial")); len(partials) != 1 {
		t.Errorf("%q", partials)
	}

	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	p.down.set(nil)
	p.up.at(10<<20, kill)
	_, err = c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r2"))
	if e, ok := errors.AsType[*artifacts.ArtifactsUploadError](err); !ok || !strings.Contains(e.Message, "was lost") || e.UploadID == "" {
		t.Errorf("%T: %v", err, err)
	}

	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	p.up.set(nil)
	// What came before is not fetched again.
	if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
		t.Fatal(err)
	}
	if got := p.down.bytes.Load(); got > largeBytes-5<<20 {
		t.Errorf("%d bytes were fetched, though 10 MiB were there", got)
	}
	sameTree(t, dir, out)
}

func TestNoServerIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	url := "unix://" + filepath.Join(shortDir(t), "none.sock")
	c := clientOf(t, &server{url: url})
	want := fmt.Sprintf("no server at %s: start one with `dstack-artifacts serve`", url)
	begun := time.Now()
	_, uploadErr := c.Upload(testContext(t), t.TempDir(), artifacts.WithArtifactPath(""))
	_, downloadErr := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(t.TempDir()))
	_, openErr := c.Open(testContext(t), artifacts.Run("r"), "f")
	_, runsErr := c.Runs(testContext(t))
	for _, err := range []error{uploadErr, downloadErr, openErr, runsErr} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, ok := uploadErr.(*artifacts.ArtifactsUploadError); !ok {
		t.Errorf("%T", uploadErr)
	}
	if _, ok := downloadErr.(*artifacts.ArtifactsDownloadError); !ok {
		t.Errorf("%T", downloadErr)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAConnectionThatIsCutAtFirstContactIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]int64{"before the server speaks": 1, "in the first call": 150} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, sharedServer(t))
			cuts := 0
			p.up.at(bytes, func() bool { cuts++; return false })
			if _, err := p.client(t).Runs(testContext(t)); err != nil || cuts != 1 {
				t.Errorf("%v after %d cuts", err, cuts)
			}
		})
	}
}

func TestAServerThatStartsLateIsFoundByTheSameClient(t *testing.T) {
	t.Parallel()
	s := newServer(shortDir(t), "")
	c := clientOf(t, &server{url: s.args[len(s.args)-1]})
	for range 3 {
		if _, err := c.Runs(testContext(t)); err == nil {
			t.Fatal("no error")
		}
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	if _, err := c.Runs(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestCancellingEndsTransfers(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	dir := writeTree(t, largeBytes)
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("there")); err != nil {
		t.Fatal(err)
	}
	why := errors.New("the user went home")
	ctx, cancel := context.WithCancelCause(testContext(t))
	p.up.at(1<<20, func() bool { cancel(why); return true })
	_, err := c.Upload(ctx, dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r"))
	if e, ok := errors.AsType[*artifacts.ArtifactsUploadError](err); !ok || !errors.Is(err, why) || e.UploadID == "" {
		t.Errorf("%T: %v", err, err)
	}
	p.up.set(nil)
	if _, err := c.GetRun(testContext(t), "r"); !errors.Is(err, artifacts.ReasonRunNotFound) {
		t.Errorf("%v", err)
	}

	ctx, cancel2 := context.WithCancel(testContext(t))
	p.down.at(1<<20, func() bool { cancel2(); return true })
	_, err = c.Download(ctx, artifacts.Run("there"), artifacts.WithLocalPath(t.TempDir()))
	if _, ok := errors.AsType[*artifacts.ArtifactsDownloadError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%T: %v", err, err)
	}
	p.down.set(nil)

	// A reader that never returns holds nothing up.
	reader, writer := io.Pipe()
	defer writer.Close()
	for name, reader := range map[string]io.Reader{"a reader": reader, "one that can seek": seekable{reader}} {
		ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
		ended := make(chan error, 1)
		go func() {
			_, err := c.UploadReader(ctx, "f", reader, artifacts.WithRun("r"))
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the call goes on", name)
		}
		cancel()
	}
}

// seekable says that a reader can seek.
type seekable struct{ io.Reader }

func (seekable) Seek(int64, int) (int64, error) { return 0, nil }

// strictSeeker is a file that is used by one at a time, and by nobody once the call has ended.
type strictSeeker struct {
	t            *testing.T
	file         io.ReadSeeker
	inUse, ended atomic.Bool
}

func (s *strictSeeker) use() func() {
	if !s.inUse.CompareAndSwap(false, true) || s.ended.Load() {
		s.t.Error("it is used while it is used, or after the call")
	}
	return func() { s.inUse.Store(false) }
}

func (s *strictSeeker) Read(p []byte) (int, error) {
	defer s.use()()
	time.Sleep(time.Millisecond)
	return s.file.Read(p[:min(len(p), 100_000)])
}

func (s *strictSeeker) Seek(offset int64, whence int) (int64, error) {
	defer s.use()()
	return s.file.Seek(offset, whence)
}

func TestAReaderThatIsReadAgainIsUsedByOneAtATime(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	content := repeated(8 << 20)
	for _, at := range []int64{300, 1 << 20, 4 << 20} {
		reader := &strictSeeker{t: t, file: bytes.NewReader(content)}
		p.up.at(at, cut)
		run := fmt.Sprint("cut-at-", at)
		if _, err := c.UploadReader(testContext(t), "f", reader, artifacts.WithRun(run)); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		reader.ended.Store(true)
		var got bytes.Buffer
		if _, err := c.DownloadWriter(testContext(t), artifacts.Run(run), "f", &got); err != nil || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%s: %d bytes, %v", run, got.Len(), err)
		}
	}
	// It is refused while more is read.
	reader := &strictSeeker{t: t, file: bytes.NewReader(content)}
	_, err := clientOf(t, serve(t, &refusingServer{})).UploadReader(testContext(t), "f", reader, artifacts.WithRun("r"))
	if !errors.Is(err, artifacts.ReasonTagExists) || reader.inUse.Load() {
		t.Errorf("%v, in use: %v", err, reader.inUse.Load())
	}
	reader.ended.Store(true)
}

// refusingServer refuses an upload at its first bytes.
type refusingServer struct{ hostileServer }

func (*refusingServer) Upload(stream artifactsv1.ArtifactsService_UploadServer) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if request.GetChunk() != nil {
			return refusal(codes.AlreadyExists, "TAG_EXISTS", nil)
		}
	}
}

func TestBytesDamagedOnTheWayAreSentAgain(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	dir := t.TempDir()
	const mark, other = "these bytes are marked", "these bytes are broken"
	content := append(repeated(3<<20), mark...)
	write(t, filepath.Join(dir, "large"), append(content, repeated(1<<20)...))
	write(t, filepath.Join(dir, "small"), []byte(mark))
	upload := func(run string) error {
		_, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun(run))
		return err
	}
	download := func() (string, error) {
		out := t.TempDir()
		_, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out))
		return out, err
	}
	p.up.replace(mark, other, 2)
	if err := upload("r"); err != nil {
		t.Fatal(err)
	}
	p.up.replace(mark, other, 100)
	if err := upload("never"); !errors.Is(err, artifacts.ReasonChecksumMismatch) {
		t.Errorf("%v", err)
	}
	p.up.set(nil)

	p.down.replace(mark, other, 1)
	out, err := download()
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, dir, out)
	p.down.replace(mark, other, 100)
	out, err = download()
	if !errors.Is(err, artifacts.ReasonChecksumMismatch) || !strings.Contains(err.Error(), "large") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "*")); len(left) > 0 {
		t.Errorf("%q", left)
	}
}
