// Command soak is one client's load: it uploads, downloads and compares until its standard input ends, and tells of each run in a line
// of JSON.
//
// Usage: soak URL NAME
package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/dstackai/dstack-artifacts/clients/go"
)

const keptRuns = 5

var sizes = []int{0, 1, 700, 4_096, 70_000, 300_000, 3_000_000}

func main() {
	url, name := os.Args[1], os.Args[2]
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	client, err := artifacts.NewClient(artifacts.WithURL(url), artifacts.WithTimeout(2*time.Minute))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	folder, err := os.MkdirTemp("", "soak")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)

	var kept []string
	for number := 1; ctx.Err() == nil; number++ {
		run := fmt.Sprintf("%s-%d", name, number)
		if err := round(client, run, folder); err != nil {
			tell("failed", err.Error(), 0)
			continue
		}
		kept = append(kept, run)
		if len(kept) > keptRuns {
			oldest := kept[0]
			kept = kept[1:]
			tell("deleting", oldest, 0)
			if _, err := client.DeleteRun(context.Background(), oldest); err != nil {
				tell("failed", err.Error(), 0)
			}
		}
	}
}

func round(client *artifacts.Client, run, folder string) error {
	ctx := context.Background()
	source, target := filepath.Join(folder, "source"), filepath.Join(folder, "target")
	for _, path := range []string{source, target} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.Mkdir(source, 0o755); err != nil {
		return err
	}
	contents := make([][]byte, 3+rand.IntN(18))
	for i := range contents {
		contents[i] = make([]byte, sizes[rand.IntN(len(sizes))])
		_, _ = crand.Read(contents[i])
		if err := os.WriteFile(filepath.Join(source, fmt.Sprint("file ", i)), contents[i], 0o644); err != nil {
			return err
		}
	}
	if _, err := client.Upload(ctx, source, artifacts.WithArtifactPath(""), artifacts.WithRun(run)); err != nil {
		return err
	}
	tell("acknowledged", run, len(contents))
	if _, err := client.Download(ctx, artifacts.Run(run), artifacts.WithLocalPath(target)); err != nil {
		return err
	}
	for i, content := range contents {
		got, err := os.ReadFile(filepath.Join(target, fmt.Sprint("file ", i)))
		if err != nil || !bytes.Equal(got, content) {
			tell("wrong", fmt.Sprintf("%s: file %d: %v", run, i, err), 0)
		}
	}
	return nil
}

func tell(what, value string, files int) {
	line, _ := json.Marshal(map[string]any{what: value, "files": files})
	fmt.Println(string(line))
}
