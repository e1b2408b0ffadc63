package artifacts_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"testing/iotest"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// plain hides what else a reader can do.
type plain struct{ io.Reader }

func TestReadersInWritersOut(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	for _, size := range []int{0, 1, 1 << 20, 5<<20 + 3} {
		for name, reader := range map[string]func([]byte) io.Reader{
			"seeks":        func(b []byte) io.Reader { return bytes.NewReader(b) },
			"only reads":   func(b []byte) io.Reader { return plain{bytes.NewReader(b)} },
			"reads little": func(b []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(b)) },
		} {
			content := repeated(size)
			u, err := c.UploadReader(testContext(t), "a/b", reader(content), artifacts.WithRun("r"))
			if err != nil || u.Files != 1 || u.Bytes != int64(size) {
				t.Fatalf("%d bytes, %s: %+v, %v", size, name, u, err)
			}
			var got bytes.Buffer
			d, err := c.DownloadWriter(testContext(t), artifacts.Run("r"), "/a/b/", &got)
			if err != nil || d.Commit != u.Commit || d.Bytes != int64(size) || !bytes.Equal(got.Bytes(), content) {
				t.Errorf("%d bytes, %s: %+v, %v", size, name, d, err)
			}
		}
	}
}

func TestUploadReaderStartsWhereASeekerStands(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	content := repeated(largeBytes)
	reader := bytes.NewReader(content)
	if _, err := reader.Seek(1000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	p.up.at(20<<20, cut)
	if _, err := c.UploadReader(testContext(t), "f", reader, artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	p.up.set(nil)
	compareFile(t, c, content[1000:])
}

func TestUploadReaderGoesOnThoughTheReaderCantSeek(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	content := repeated(100 << 20)
	next := int64(1 << 20)
	p.up.set(func(total int64, _ []byte) bool {
		if total < next {
			return true
		}
		next += 45 << 20
		return false
	})
	u, err := c.UploadReader(testContext(t), "f", plain{bytes.NewReader(content)}, artifacts.WithRun("r"))
	if err != nil || u.Commit != 1 {
		t.Fatalf("%+v, %v", u, err)
	}
	if next < 90<<20 {
		t.Fatal("the connection was not cut")
	}
	p.up.set(nil)
	compareFile(t, c, content)
}

func compareFile(t testing.TB, c *artifacts.Client, want []byte) {
	t.Helper()
	var got bytes.Buffer
	if _, err := c.DownloadWriter(testContext(t), artifacts.Run("r"), "f", &got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes, want %d, %v", got.Len(), len(want), err)
	}
}

// once gives an error once.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

func TestUploadReaderTellsOfTheReadersError(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	// A body of HTTP that was cut off ends with io.ErrUnexpectedEOF.
	for _, why := range []error{errors.New("the tape broke"), io.ErrUnexpectedEOF} {
		for _, size := range []int{0, 1000, 3 << 20} {
			// After its error the reader says io.EOF, as if that were all.
			reader := io.MultiReader(bytes.NewReader(repeated(size)), &once{why})
			_, err := c.UploadReader(testContext(t), "f", reader, artifacts.WithRun("r"))
			if _, ok := errors.AsType[*artifacts.ArtifactsUploadError](err); !ok || !errors.Is(err, why) {
				t.Errorf("%d bytes, then %v: %T: %v", size, why, err, err)
			}
		}
	}
	if _, err := c.GetRun(testContext(t), "r"); !errors.Is(err, artifacts.ReasonRunNotFound) {
		t.Errorf("%v", err)
	}
}

func TestOpenReadsSeeksAndReadsAt(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	content := repeated(12 << 20)
	if _, err := c.UploadReader(testContext(t), "dir/f", bytes.NewReader(content), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	f, err := c.Open(testContext(t), artifacts.Run("r"), "dir/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// A later upload doesn't change what is read.
	if _, err := c.UploadReader(testContext(t), "dir/f", bytes.NewReader(content[:100]), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != int64(len(content)) || info.Name() != "f" || info.IsDir() {
		t.Errorf("%+v, %v", info, err)
	}
	// Every connection is cut again and again.
	next := int64(3 << 20)
	p.down.set(func(total int64, _ []byte) bool {
		if total < next {
			return true
		}
		next += 3 << 20
		return false
	})
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if next == 3<<20 {
		t.Error("the connection was not cut")
	}
	p.down.set(nil)
	if err := iotest.TestReader(io.NewSectionReader(f, 1<<20-10, 20), content[1<<20-10:1<<20+10]); err != nil {
		t.Error(err)
	}
	for _, where := range []struct {
		offset int64
		whence int
		at     int64
	}{{5 << 20, io.SeekStart, 5 << 20}, {-7, io.SeekCurrent, 5<<20 + 93}, {-100, io.SeekEnd, 12<<20 - 100}} {
		at, err := f.Seek(where.offset, where.whence)
		part := make([]byte, 100)
		n, rerr := io.ReadFull(f, part)
		if err != nil || rerr != nil || at != where.at || !bytes.Equal(part, content[at:at+int64(n)]) {
			t.Errorf("%+v: %d, %v, %v", where, at, err, rerr)
		}
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := f.Seek(-1, io.SeekStart); err == nil {
		t.Error("no error")
	}
	if n, err := f.ReadAt(make([]byte, 10), 12<<20-4); n != 4 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			at := rand.IntN(len(content) - 10_000)
			part := make([]byte, 10_000)
			if n, err := f.ReadAt(part, int64(at)); n != len(part) || err != nil || !bytes.Equal(part, content[at:at+n]) {
				t.Errorf("at %d: %d, %v", at, n, err)
			}
		})
	}
	readers.Wait()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a closed file can be read")
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b"), []byte("x"))
	if err := os.Symlink("a/b", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r"),
		artifacts.WithSymlinks(artifacts.PreserveSymlinks)); err != nil {
		t.Fatal(err)
	}
	for path, reason := range map[string]artifacts.Reason{"": "", "a": "", "l": "", "a/c": artifacts.ReasonPathNotFound, "a//b": artifacts.ReasonPathInvalid} {
		_, err := c.Open(testContext(t), artifacts.Run("r"), path)
		e, ok := errors.AsType[*artifacts.ArtifactsDownloadError](err)
		if !ok || e.Reason != reason {
			t.Errorf("%q: %T: %v", path, err, err)
		}
	}
	if _, err := c.Open(testContext(t), artifacts.Run("none"), "a"); !errors.Is(err, artifacts.ReasonRunNotFound) {
		t.Errorf("%v", err)
	}
}

func TestFS(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b/c"), seeded(1, 5000))
	write(t, filepath.Join(dir, "a/b/d"), nil)
	write(t, filepath.Join(dir, "a.txt"), []byte("x"))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o750); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"l": "a/b/c", "a/up": "../a.txt", "folder": "a/b", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithTag("t"),
		artifacts.WithSymlinks(artifacts.PreserveSymlinks)); err != nil {
		t.Fatal(err)
	}
	fsys, err := c.FS(testContext(t), artifacts.Tag("t"))
	if err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]string{"l": string(seeded(1, 5000)), "a/up": "x", "folder/c": string(seeded(1, 5000))} {
		if got, err := fs.ReadFile(fsys, link); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", link, len(got), err)
		}
	}
	if _, err := fs.Stat(fsys, "loop"); err == nil {
		t.Error("a loop was followed")
	}
	if _, err := fs.Stat(fsys, "a/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if entries, err := fs.ReadDir(fsys, "folder"); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	if target, err := fs.ReadLink(fsys, "a/up"); err != nil || target != "../a.txt" {
		t.Errorf("%q, %v", target, err)
	}
	if info, err := fs.Stat(fsys, "empty"); err != nil || info.Mode() != fs.ModeDir|0o750 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestFSPassesTheStandardTest(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	dir := t.TempDir()
	for i := range 5 {
		write(t, filepath.Join(dir, fmt.Sprintf("d%d/e/f", i)), seeded(i, 100*i))
	}
	write(t, filepath.Join(dir, "top"), []byte("x"))
	if err := os.Symlink("d1/e", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r"),
		artifacts.WithSymlinks(artifacts.PreserveSymlinks)); err != nil {
		t.Fatal(err)
	}
	fsys, err := c.FS(testContext(t), artifacts.Run("r"))
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(fsys, "top", "d0/e/f", "d4/e/f", "link"); err != nil {
		t.Error(err)
	}
}
