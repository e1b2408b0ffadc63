package artifacts_test

import (
	"bytes"
	"errors"
	"fmt"
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
