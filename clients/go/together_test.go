package artifacts_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

func TestOfUploadsWithOneTagOneWins(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	var uploads sync.WaitGroup
	var won atomic.Int64
	for i := range 8 {
		uploads.Go(func() {
			_, err := c.UploadReader(testContext(t), "f", bytes.NewReader(seeded(i, 100_000)), artifacts.WithTag("t"))
			if err == nil {
				won.Add(1)
			} else if e, ok := errors.AsType[*artifacts.ArtifactsUploadError](err); !ok || e.Message != `tag "t" already exists` {
				t.Errorf("%T: %v", err, err)
			}
		})
	}
	uploads.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
	if runs, err := c.Runs(testContext(t)); err != nil || len(runs) != 1 || !slices.Equal(runs[0].Tags, []string{"t"}) {
		t.Errorf("%+v, %v", runs, err)
	}
}

func TestUploadsToOneRunAtOnceAreACommitEach(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	const workers = 16
	var uploads sync.WaitGroup
	var commits [workers]uint64
	for i := range workers {
		uploads.Go(func() {
			u, err := c.UploadReader(testContext(t), fmt.Sprint("shard-", i), bytes.NewReader(seeded(i, 200_000)), artifacts.WithRun("r"))
			if err != nil {
				t.Error(err)
				return
			}
			commits[i] = u.Commit
		})
	}
	uploads.Wait()
	slices.Sort(commits[:])
	for i, commit := range commits {
		if commit != uint64(i+1) {
			t.Fatalf("commits %v", commits)
		}
	}
	if run, err := c.GetRun(testContext(t), "r"); err != nil || run.Files != workers || run.Bytes != workers*200_000 {
		t.Errorf("%+v, %v", run, err)
	}
}

func TestDownloadsToOneFolderAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	files := map[string][]byte{"large": seeded(1, 20_000_000), "small": seeded(2, 1_000), "empty": {}}
	source := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(source, name), content)
	}
	if err := os.Symlink("large", filepath.Join(source, "link")); err != nil {
		t.Fatal(err)
	}
	downloadTogether(t, c, source, func(folder string) {
		// Whoever is done has whole files, whatever the others are at.
		for name, content := range files {
			if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %d bytes that are not those uploaded, %v", name, len(got), err)
			}
		}
		if target, err := os.Readlink(filepath.Join(folder, "link")); target != "large" {
			t.Errorf("%q, %v", target, err)
		}
	})
}

func TestSmallFilesAndLinksAreWrittenByManyAtOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	source := t.TempDir()
	for i := range 40 {
		write(t, filepath.Join(source, fmt.Sprint("f", i)), seeded(i, 10*i))
		if err := os.Symlink(fmt.Sprint("f", i), filepath.Join(source, fmt.Sprint("l", i))); err != nil {
			t.Fatal(err)
		}
	}
	downloadTogether(t, c, source, func(string) {})
}

// downloadTogether uploads a folder, links as links, and downloads it to each of five folders, six times at once, which must be the same in
// the end. done is called with the folder for each download when it ends.
func downloadTogether(t *testing.T, c *artifacts.Client, source string, done func(folder string)) {
	t.Helper()
	if _, err := c.Upload(testContext(t), source, artifacts.WithArtifactPath(""), artifacts.WithRun("r"),
		artifacts.WithSymlinks(artifacts.PreserveSymlinks)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		folder := t.TempDir()
		var downloads sync.WaitGroup
		for range 6 {
			downloads.Go(func() {
				if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(folder)); err != nil {
					t.Error(err)
				}
				done(folder)
			})
		}
		downloads.Wait()
		sameTree(t, source, folder)
	}
}

func TestAFileWhosePartialIsTakenAwayComesAgain(t *testing.T) {
	t.Parallel()
	size, seed := int64(3_000_000), 1
	content := seeded(seed, int(size))
	for what, act := range map[string]func(partial, final string) error{
		"finished": os.Rename,
		"finished whole": func(partial, final string) error {
			return errors.Join(os.WriteFile(partial, content, 0o600), os.Rename(partial, final))
		},
		"removed": func(partial, _ string) error { return os.Remove(partial) },
		"replaced": func(partial, _ string) error {
			return errors.Join(os.Remove(partial), os.WriteFile(partial, content[:1000], 0o600))
		},
	} {
		for when, report := range map[string]int{"before it is gone on with": 1, "while it is written": 2} {
			t.Run(what+" "+when, func(t *testing.T) {
				t.Parallel()
				c := newClient(t)
				if _, err := c.UploadReader(testContext(t), "a", bytes.NewReader(content), artifacts.WithRun("r")); err != nil {
					t.Fatal(err)
				}
				folder := t.TempDir()
				partial := vectorEntry{Path: "a", Size: &size, Seed: &seed, PartialIn: &folder}.partial(t, func(s string) string { return s })
				write(t, partial, content[:1_000_000])
				reports := 0
				// The first time when the file is begun; the second one comes with its first bytes, as a report each 100 ms is due by then.
				progress := func(artifacts.Progress) {
					if reports++; reports == report {
						if err := act(partial, filepath.Join(folder, "a")); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(folder), artifacts.WithProgress(progress)); err != nil {
					t.Error(err)
				}
				if got, err := os.ReadFile(filepath.Join(folder, "a")); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes that are not those uploaded, %v", len(got), err)
				}
				if names, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(names) > 0 {
					t.Errorf("left behind: %q, %v", names, err)
				}
			})
		}
	}
}

func TestOfManyReadsMoreThanAConnectionTakesAllSucceed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	content := seeded(0, 100_000)
	if _, err := c.UploadReader(testContext(t), "f", bytes.NewReader(content), artifacts.WithRun("r")); err != nil {
		t.Fatal(err)
	}
	var reads sync.WaitGroup
	for range 300 {
		reads.Go(func() {
			file, err := c.Open(testContext(t), artifacts.Run("r"), "f")
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			if got, err := io.ReadAll(file); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	reads.Wait()
}
