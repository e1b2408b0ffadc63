package artifacts_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
	artifactsv1 "github.com/dstackai/dstack-artifacts/gen/go/dstack/artifacts/v1"
)

// put uploads files of a line each to a run.
func put(t testing.TB, c *artifacts.Client, run string, paths ...string) {
	t.Helper()
	dir := t.TempDir()
	for _, path := range paths {
		write(t, filepath.Join(dir, path), []byte(path))
	}
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun(run)); err != nil {
		t.Fatal(err)
	}
}

func paths(entries []artifacts.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Path)
	}
	return all
}

func TestRuns(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	put(t, c, "one", "a")
	put(t, c, "one", "bb")
	put(t, c, "two", "c")
	runs, err := c.Runs(testContext(t))
	if err != nil || len(runs) != 2 || runs[0].Name != "one" || runs[1].Name != "two" {
		t.Fatalf("%+v, %v", runs, err)
	}
	if one := runs[0]; one.Commits != 2 || one.NewestCommit != 2 || one.Files != 2 || one.Bytes != 3 || time.Since(one.Created).Abs() > time.Hour {
		t.Errorf("%+v", one)
	}
	if _, err := c.CreateTag(testContext(t), "t", artifacts.Run("one").At(1)); err != nil {
		t.Fatal(err)
	}
	if run, err := c.GetRun(testContext(t), "one"); err != nil || !slices.Equal(run.Tags, []string{"t"}) {
		t.Errorf("%+v, %v", run, err)
	}
	if _, err := c.DeleteRun(testContext(t), "one"); !errors.Is(err, artifacts.ReasonRunHasTags) || !strings.Contains(err.Error(), "t") {
		t.Errorf("%v", err)
	}
	if tags, err := c.DeleteRun(testContext(t), "one", artifacts.WithForce()); err != nil || !slices.Equal(tags, []string{"t"}) {
		t.Errorf("%q, %v", tags, err)
	}
	_, err = c.GetRun(testContext(t), "one")
	if _, ok := errors.AsType[*artifacts.RunNotFoundError](err); !ok {
		t.Errorf("%T: %v", err, err)
	}
	if _, err := c.GetTag(testContext(t), "t"); !errors.Is(err, artifacts.ReasonTagNotFound) {
		t.Errorf("%v", err)
	}
	if tags, err := c.DeleteRun(testContext(t), "two"); err != nil || len(tags) > 0 {
		t.Errorf("%q, %v", tags, err)
	}
	if runs, err := c.Runs(testContext(t)); err != nil || len(runs) > 0 {
		t.Errorf("%+v, %v", runs, err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	put(t, c, "r", "a/b", "c")
	put(t, c, "r", "a/d")
	created, err := c.CreateTag(testContext(t), "t", artifacts.Run("r"), artifacts.WithTagPath("/a/"))
	if err != nil || created.Run != "r" || created.Commit != 2 || created.Path != "a" || time.Since(created.Created).Abs() > time.Hour {
		t.Fatalf("%+v, %v", created, err)
	}
	if got, err := c.GetTag(testContext(t), "t"); err != nil || *got != *created {
		t.Errorf("%+v, %v", got, err)
	}
	if tags, err := c.Tags(testContext(t)); err != nil || len(tags) != 1 || tags[0] != *created {
		t.Errorf("%+v, %v", tags, err)
	}
	if _, err := c.CreateTag(testContext(t), "t", artifacts.Run("r")); !errors.Is(err, artifacts.ReasonTagExists) {
		t.Errorf("%v", err)
	}
	for _, ref := range []artifacts.Ref{artifacts.Tag("t"), {}, artifacts.Run("a b"), artifacts.Run("none"), artifacts.Run("r").At(9)} {
		if _, err := c.CreateTag(testContext(t), "new", ref); err == nil {
			t.Errorf("a tag was made for %q", ref)
		}
	}
	listing, err := c.List(testContext(t), artifacts.Tag("t"), artifacts.WithRecursive())
	if err != nil || !slices.Equal(paths(listing.Entries), []string{"a/b", "a/d"}) || listing.Files != 2 || listing.Run != "r" || listing.Commit != 2 {
		t.Errorf("%+v, %v", listing, err)
	}
	if err := c.DeleteTag(testContext(t), "t"); err != nil {
		t.Error(err)
	}
	err = c.DeleteTag(testContext(t), "t")
	if _, ok := errors.AsType[*artifacts.TagNotFoundError](err); !ok {
		t.Errorf("%T: %v", err, err)
	}
	if _, err := c.GetRun(testContext(t), "r"); err != nil {
		t.Error(err)
	}
}

func TestListingsOfManyPages(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var names []string
	for i := range 1_100 {
		names = append(names, fmt.Sprintf("f%04d", i))
	}
	put(t, c, "r", names...)
	few := func(r *artifactsv1.ListEntriesRequest) { r.PageSize = 400 }
	listing, err := c.List(testContext(t), artifacts.Run("r"), few)
	if err != nil || !slices.Equal(paths(listing.Entries), names) || listing.Files != int64(len(names)) {
		t.Errorf("%d entries, %v", len(listing.Entries), err)
	}
	if _, err := c.List(testContext(t), artifacts.Run("r"), artifacts.WithPrefix("none")); !errors.Is(err, artifacts.ReasonPathNotFound) {
		t.Errorf("%v", err)
	}
	// A download over several pages of what is there already.
	dir := t.TempDir()
	for _, name := range names[:500] {
		write(t, filepath.Join(dir, name), []byte(name))
	}
	if d, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(dir)); err != nil || d.Files != int64(len(names)) {
		t.Errorf("%+v, %v", d, err)
	}
	if there, err := os.ReadDir(dir); err != nil || len(there) != len(names) {
		t.Errorf("%d files, %v", len(there), err)
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	put(t, c, "from", "a/b", "a/c", "d")
	for i, want := range []struct {
		path    string
		options []artifacts.CopyOption
		paths   []string
	}{
		{"", nil, []string{"a", "a/b", "a/c", "d"}},
		{"a", nil, []string{"a", "a/b", "a/c"}},
		{"a", []artifacts.CopyOption{artifacts.WithDestination("/")}, []string{"b", "c"}},
		{"/d", []artifacts.CopyOption{artifacts.WithDestination("x/y")}, []string{"x/y"}},
	} {
		run := fmt.Sprint("to-", i)
		copied, err := c.Copy(testContext(t), artifacts.Run("from"), want.path, run, want.options...)
		if err != nil || copied.Run != run || copied.Commit != 1 {
			t.Fatalf("%+v, %v", copied, err)
		}
		listing, err := c.List(testContext(t), artifacts.Run(run), artifacts.WithRecursive())
		if err != nil || !slices.Equal(paths(listing.Entries), want.paths) || listing.Files != copied.Files || listing.Bytes != copied.Bytes {
			t.Errorf("%q, want %q, %v", paths(listing.Entries), want.paths, err)
		}
	}
	if _, err := c.Copy(testContext(t), artifacts.Tag("none"), "", "to"); !errors.Is(err, artifacts.ReasonTagNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.Copy(testContext(t), artifacts.Ref{}, "", "to"); err == nil {
		t.Error("nothing was copied")
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := newServer(dir, "")
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(9) })
	c := clientOf(t, s)
	const mark = "these bytes are stored somewhere"
	if _, err := c.UploadReader(testContext(t), "f", strings.NewReader(mark), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	put(t, c, "r", "fine")
	told := 0
	v, err := c.Verify(testContext(t), artifacts.Run("r"), artifacts.WithVerifyProgress(func(artifacts.Progress) { told++ }))
	if err != nil || v.Files != 2 || len(v.Damaged) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	damage(t, filepath.Join(dir, "store"), mark)
	v, err = c.Verify(testContext(t), artifacts.Run("r"))
	if err != nil || v.Files != 2 || len(v.Damaged) != 1 || v.Damaged[0].Path != "f" || v.Damaged[0].Problem == "" {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = c.Download(testContext(t), artifacts.Run("r"), artifacts.WithArtifactPath("f"), artifacts.WithLocalPath(t.TempDir()))
	if !errors.Is(err, artifacts.ReasonDataDamaged) {
		t.Errorf("%v", err)
	}
	_, err = c.Verify(testContext(t), artifacts.Run("none"))
	if _, ok := errors.AsType[*artifacts.RunNotFoundError](err); !ok {
		t.Errorf("%T: %v", err, err)
	}
}

// damage changes a byte of what a store has, wherever it is.
func damage(t testing.TB, store, mark string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(store, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if i := bytes.Index(content, []byte(mark)); i >= 0 {
			found = true
			content[i] ^= 1
			err = errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, content, 0o600))
		}
		return err
	})
	if err != nil || !found {
		t.Fatal("nothing to damage", err)
	}
}

func TestUploadsAreListedAndAborted(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	project := newProject()
	c, hasty := p.client(t, artifacts.WithProject(project)), p.client(t, artifacts.WithProject(project), artifacts.WithTimeout(100*time.Millisecond))
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, repeated(largeBytes))
	const id = "an-upload-of-the-test"
	p.up.set(func(total int64, _ []byte) bool { return total < 30<<20 })
	if _, err := hasty.Upload(testContext(t), file, artifacts.WithArtifactPath("f"), artifacts.WithTag("t"), artifacts.WithUploadID(id)); err == nil {
		t.Fatal("no error")
	}
	p.up.set(nil)
	uploads, err := c.Uploads(testContext(t))
	if err != nil || len(uploads) != 1 || uploads[0].ID != id || uploads[0].Tag != "t" || uploads[0].Finishing {
		t.Fatalf("%+v, %v", uploads, err)
	}
	if err := c.AbortUpload(testContext(t), id); err != nil {
		t.Fatal(err)
	}
	_, err = c.Upload(testContext(t), file, artifacts.WithArtifactPath("f"), artifacts.WithTag("t"), artifacts.WithUploadID(id))
	if !errors.Is(err, artifacts.ReasonUploadGone) {
		t.Errorf("%v", err)
	}
	if uploads, err := c.Uploads(testContext(t)); err != nil || len(uploads) > 0 {
		t.Errorf("%+v, %v", uploads, err)
	}
	if err := c.AbortUpload(testContext(t), "an-upload-of-nobody"); !errors.Is(err, artifacts.ReasonUploadNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := c.Upload(testContext(t), file, artifacts.WithUploadID("short")); err == nil {
		t.Error("a bad id is taken")
	}
	// Committed once, it gives its first answer again.
	const done = "an-upload-that-is-done"
	write(t, file, []byte("x"))
	for range 2 {
		u, err := c.Upload(testContext(t), file, artifacts.WithArtifactPath("f"), artifacts.WithRun("r"), artifacts.WithUploadID(done))
		if err != nil || u.Commit != 1 || u.Files != 1 {
			t.Errorf("%+v, %v", u, err)
		}
	}
	if err := c.AbortUpload(testContext(t), done); !errors.Is(err, artifacts.ReasonUploadFinished) {
		t.Errorf("%v", err)
	}
}

func TestCollectGarbage(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	c := clientOf(t, s)
	if _, err := c.UploadReader(testContext(t), "f", bytes.NewReader(repeated(2<<20)), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	put(t, c, "kept", "a")
	if _, err := c.DeleteRun(testContext(t), "r"); err != nil {
		t.Fatal(err)
	}
	dry, err := c.CollectGarbage(testContext(t), artifacts.WithGrace(0), artifacts.WithDryRun())
	if err != nil || dry.ScannedObjects == 0 || dry.CondemnedBytes < 2<<20 {
		t.Errorf("%+v, %v", dry, err)
	}
	g, err := c.CollectGarbage(testContext(t), artifacts.WithGrace(0))
	if err != nil || g.DeletedObjects == 0 || g.DeletedBytes < 2<<20 {
		t.Errorf("%+v, %v", g, err)
	}
	if v, err := c.Verify(testContext(t), artifacts.Run("kept")); err != nil || v.Files != 1 || len(v.Damaged) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestServerInfo(t *testing.T) {
	t.Parallel()
	s := sharedServer(t)
	info, err := clientOf(t, s).GetServerInfo(testContext(t))
	if err != nil || info.Run != s.run || info.Project != "main" || info.StoreKind != "file" || info.Version == "" {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	dir := writeTree(t, 5<<20)
	var last artifacts.Progress
	follow := func(p artifacts.Progress) {
		if p.Bytes < last.Bytes || p.Files < last.Files {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	}
	want := artifacts.Progress{Path: "c/9", Files: 41, TotalFiles: 41, Bytes: 5<<20 + 40_000, TotalBytes: 5<<20 + 40_000}
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r"), artifacts.WithProgress(follow)); err != nil || last != want {
		t.Errorf("%+v, %v", last, err)
	}
	out := t.TempDir()
	for range 2 {
		last = artifacts.Progress{}
		_, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out), artifacts.WithProgress(follow))
		if err != nil || last != want {
			t.Errorf("%+v, %v", last, err)
		}
	}
}
