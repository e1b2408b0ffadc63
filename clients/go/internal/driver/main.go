// Command driver uploads and downloads by the Go client, for tests that compare the clients of all languages.
//
//	driver upload LOCAL ARTIFACT_PATH TAG [--symlinks follow|preserve]
//	driver download TAG LOCAL
//
// The environment says where the server is. The result is one JSON object on standard output, with the keys of the command line's --json.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

const usage = "usage: driver upload LOCAL ARTIFACT_PATH TAG [--symlinks follow|preserve] | driver download TAG LOCAL"

func main() {
	result, err := run(context.Background(), os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (map[string]any, error) {
	switch {
	case len(args) >= 4 && args[0] == "upload":
		symlinks, err := symlinksOf(args[4:])
		if err != nil {
			return nil, err
		}
		r, err := artifacts.Upload(ctx, args[1], artifacts.WithArtifactPath(args[2]), artifacts.WithTag(args[3]), artifacts.WithSymlinks(symlinks))
		if err != nil {
			return nil, err
		}
		return map[string]any{"run": r.Run, "commit": r.Commit, "tag": r.Tag, "files": r.Files, "bytes": r.Bytes, "skipped": r.Skipped}, nil
	case len(args) == 3 && args[0] == "download":
		r, err := artifacts.Download(ctx, artifacts.Tag(args[1]), artifacts.WithLocalPath(args[2]))
		if err != nil {
			return nil, err
		}
		return map[string]any{"run": r.Run, "commit": r.Commit, "files": r.Files, "bytes": r.Bytes}, nil
	}
	return nil, fmt.Errorf("%s", usage)
}

func symlinksOf(args []string) (artifacts.Symlinks, error) {
	switch {
	case len(args) == 0, len(args) == 2 && args[0] == "--symlinks" && args[1] == "follow":
		return artifacts.FollowSymlinks, nil
	case len(args) == 2 && args[0] == "--symlinks" && args[1] == "preserve":
		return artifacts.PreserveSymlinks, nil
	}
	return 0, fmt.Errorf("%s", usage)
}
