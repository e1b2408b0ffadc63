//go:build long

package artifacts_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// maxMemoryBytes is what a client may take, however much it moves.
const maxMemoryBytes = 150 << 20

func TestLongMemoryStaysBounded(t *testing.T) {
	s := startServer(t, "")
	for name, make := range map[string]func(dir string) error{
		"a file of 2 GiB": func(dir string) error {
			f, err := os.Create(filepath.Join(dir, "f"))
			if err == nil {
				err = f.Truncate(2 << 30)
			}
			return err
		},
		"10,000 files": func(dir string) error {
			for i := range 10_000 {
				path := filepath.Join(dir, fmt.Sprint(i%100), fmt.Sprint(i))
				write(t, path, seeded(i, 4096))
			}
			return nil
		},
	} {
		dir, out, run := t.TempDir(), t.TempDir(), "r-"+rand.Text()
		if err := make(dir); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"upload", s.url, "p", dir, run}, {"download", s.url, "p", run, out}} {
			measure(t, name+": "+args[0], exec.Command(os.Args[0], append([]string{childArgument}, args...)...))
		}
		// Once more: everything is there already and is compared.
		measure(t, name+": download again", exec.Command(os.Args[0], childArgument, "download", s.url, "p", run, out))
		// And by readers and writers.
		if name == "a file of 2 GiB" {
			measure(t, name+": reader and writer", exec.Command(os.Args[0], childArgument, "pipe", s.url, "p", run, filepath.Join(dir, "f")))
		}
	}
}

func TestLongSilenceIsALostConnection(t *testing.T) {
	p := startProxy(t, sharedServer(t))
	c := p.client(t, artifacts.WithProject(newProject()))
	dir, out := writeTree(t, largeBytes), t.TempDir()
	// What goes through one connection stops, and nobody says so.
	ended := make(chan struct{})
	defer close(ended)
	silence := func() bool {
		<-ended
		return false
	}
	begun := time.Now()
	p.up.at(20<<20, silence)
	if _, err := c.Upload(testContext(t), dir, artifacts.WithArtifactPath(""), artifacts.WithRun("r")); err != nil {
		t.Error(err)
	}
	t.Logf("an upload went on after %v", time.Since(begun).Round(time.Second))
	p.up.set(nil)
	begun = time.Now()
	p.down.at(20<<20, silence)
	if _, err := c.Download(testContext(t), artifacts.Run("r"), artifacts.WithLocalPath(out)); err != nil {
		t.Error(err)
	}
	t.Logf("a download went on after %v", time.Since(begun).Round(time.Second))
	sameTree(t, dir, out)
}

func measure(t *testing.T, what string, command *exec.Cmd) {
	t.Helper()
	begun := time.Now()
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", what, err, out)
	}
	const rssUnit = 1024 // Linux tells kilobytes.
	peak := command.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * rssUnit
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	t.Logf("%-40s %4d MiB, %6.2f s, %5.2f s of CPU", what, peak>>20, time.Since(begun).Seconds(), cpu.Seconds())
	if peak > maxMemoryBytes {
		t.Errorf("%s: %d MiB", what, peak>>20)
	}
}
