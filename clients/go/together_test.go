package artifacts_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

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
	for name, content := range files {
		if _, err := c.UploadReader(testContext(t), name, bytes.NewReader(content), artifacts.WithRun("r")); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		folder := t.TempDir()
		var downloads sync.WaitGroup
		for range 6 {
			downloads.Go(func() {
				if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(folder)); err != nil {
					t.Error(err)
				}
				// Whoever is done has whole files, whatever the others are at.
				for name, content := range files {
					if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%s: %d bytes that are not those uploaded, %v", name, len(got), err)
					}
				}
			})
		}
		downloads.Wait()
	}
}
