package artifacts_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

func TestAFileThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	t.Parallel()
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, repeated(largeBytes))
	grow := func() bool {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString("more")
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Error(err)
		}
		return true
	}
	p.up.at(1<<20, grow)
	u, err := c.Upload(testContext(t), file, artifacts.WithArtifactPath("f"), artifacts.WithRun("r"))
	if err != nil || u.Bytes != largeBytes+4 {
		t.Fatalf("%+v, %v", u, err)
	}
	out := t.TempDir()
	if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
		t.Fatal(err)
	}
	sameTree(t, filepath.Dir(file), out)

	// It grows at every 10 MiB, so that the second reading sees it too.
	next := int64(1 << 20)
	p.up.set(func(total int64, _ []byte) bool {
		if total > next {
			next += 10 << 20
			grow()
		}
		return true
	})
	_, err = c.Upload(testContext(t), file, artifacts.WithArtifactPath("f"), artifacts.WithRun("r"))
	if e, ok := errors.AsType[*artifacts.ArtifactsUploadError](err); !ok || !strings.Contains(e.Message, "changed while it was read, twice") ||
		!strings.Contains(e.Message, file) {
		t.Errorf("%T: %v", err, err)
	}
}

// asAnyUser runs the program as a client to its end, for whom permissions count: who may do everything is nobody there.
func asAnyUser(t testing.TB, args ...string) (said string, err error) {
	t.Helper()
	command := exec.Command(os.Args[0], append([]string{childArgument}, args...)...)
	if os.Geteuid() == 0 {
		dir := shortDir(t)
		command.Path = filepath.Join(dir, "client")
		// Not written here: what another test starts at that moment would keep it open, and it couldn't be run.
		if err := errors.Join(os.Chmod(dir, 0o755), exec.Command("cp", os.Args[0], command.Path).Run()); err != nil {
			t.Fatal(err)
		}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	output, err := command.CombinedOutput()
	return string(output), err
}

// nobody is a user and a group that own nothing.
const nobody = 65534

func TestAnUnreadableFileIsAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	write(t, filepath.Join(dir, "tree", "secret"), []byte("x"))
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "tree"): 0o755, filepath.Join(dir, "tree/secret"): 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	p := startProxy(t, sharedServer(t))
	said, err := asAnyUser(t, "upload", p.url, "p", filepath.Join(dir, "tree"), "r")
	if err == nil || !strings.Contains(said, filepath.Join(dir, "tree/secret")) || !strings.Contains(said, "permission denied") {
		t.Errorf("%s, %v", said, err)
	}
}

func TestADownloadThatFailsLeavesTheModesOfFoldersAsTheyWere(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "d", "a"), []byte("1"))
	write(t, filepath.Join(dir, "d", "b"), []byte("1"))
	if err := os.Chmod(filepath.Join(dir, "d"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "d"), 0o755) })
	c := newClient(t)
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(out, "d", "b"), 0o755), os.Chmod(filepath.Join(out, "d"), 0o555)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(out, "d"), 0o755) })
	if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err == nil {
		t.Error("a file became a folder")
	}
	if info, err := os.Stat(filepath.Join(out, "d")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestSkippedEntriesAreWarnedOf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := newClient(t, artifacts.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	u, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath("x"), artifacts.WithRun("r"))
	if err != nil || u.Skipped != 1 || u.Files != 0 {
		t.Fatalf("%+v, %v", u, err)
	}
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, filepath.Join(dir, "pipe")) || !strings.Contains(said, "FIFO") {
		t.Errorf("%q", said)
	}
}

// What others have put where a partial file will be, or behind the real names, is not written to.
func TestNothingIsWrittenThroughWhatIsFound(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	dir, out, outside := t.TempDir(), t.TempDir(), t.TempDir()
	content := seeded(1, 300_000)
	write(t, filepath.Join(dir, "f"), content)
	write(t, filepath.Join(outside, "linked"), []byte("kept"))
	write(t, filepath.Join(outside, "second"), content[:1000])
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	size, seed := int64(len(content)), 1
	partial := vectorEntry{Path: "f", Size: &size, Seed: &seed, PartialIn: &out}.partial(t, func(s string) string { return s })
	for name, place := range map[string]func() error{
		"a link":             func() error { return os.Symlink(filepath.Join(outside, "linked"), partial) },
		"a second hard link": func() error { return os.Link(filepath.Join(outside, "second"), partial) },
		"a hard link behind the real name": func() error {
			return os.Link(filepath.Join(outside, "linked"), filepath.Join(out, "f"))
		},
	} {
		if err := place(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sameTree(t, dir, out)
		for file, want := range map[string]string{"linked": "kept", "second": string(content[:1000])} {
			if got, err := os.ReadFile(filepath.Join(outside, file)); err != nil || string(got) != want {
				t.Errorf("%s: %s is %d bytes, %v", name, file, len(got), err)
			}
		}
		if err := os.Remove(filepath.Join(out, "f")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskIsAnErrorThatSaysSo(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	if _, err := c.UploadReader(testContext(t), "f", bytes.NewReader(repeated(1<<20)), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	_, err = c.DownloadWriter(testContext(t), artifacts.Run("r"), "f", full)
	if _, ok := errors.AsType[*artifacts.ArtifactsDownloadError](err); !ok || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%T: %v", err, err)
	}
}

func TestErrorsAreThoseOfTheLanguageToo(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	_, err := c.Download(testContext(t), artifacts.Tag("none"), artifacts.WithLocalPath(t.TempDir()))
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, artifacts.ReasonTagNotFound) {
		t.Errorf("%v", err)
	}
	_, err = c.Upload(testContext(t), filepath.Join(t.TempDir(), "none"), artifacts.WithArtifactPath("x"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	dir := t.TempDir()
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithTag("t")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithTag("t"))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
}
