// Command go is Go's part of the benchmarks: the client at work, and what grpc-go can do at the best.
//
//	go client upload LOCAL RUN | client download RUN LOCAL
//	go bare upload BYTES | bare download RUN PATH
//	go server BYTES
//
// client and bare speak to the server that DSTACK_ARTIFACTS_URL names, and print what that took as JSON: bytes, seconds, cpuSeconds and
// peakRssBytes. server is one that discards uploads and makes up downloads of one file `f` of so many bytes; it prints its URL, a Unix
// socket, and ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	args = append(args, make([]string, max(4-len(args), 0))...)
	switch args[0] + " " + args[1] {
	case "client upload":
		return measured(func() (int64, error) {
			u, err := artifacts.Upload(ctx, args[2], artifacts.WithArtifactPath("f"), artifacts.WithRun(args[3]))
			if err != nil {
				return 0, err
			}
			return u.Bytes, nil
		})
	case "client download":
		return measured(func() (int64, error) {
			d, err := artifacts.Download(ctx, artifacts.Run(args[2]), artifacts.WithLocalPath(args[3]))
			if err != nil {
				return 0, err
			}
			return d.Bytes, nil
		})
	case "bare upload":
		size, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		return measured(func() (int64, error) { return bareUpload(ctx, size) })
	case "bare download":
		return measured(func() (int64, error) { return bareDownload(ctx, args[2], args[3]) })
	}
	if size, err := strconv.ParseInt(args[1], 10, 64); args[0] == "server" && err == nil {
		return serve(size)
	}
	return fmt.Errorf("unknown: %q", args)
}

// measured does work that tells how many bytes it moved, and prints what it took.
func measured(work func() (int64, error)) error {
	cpuBefore, begun := cpuSeconds(), time.Now()
	bytes, err := work()
	if err != nil {
		return err
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	const rssUnit = 1024 // Linux tells kilobytes.
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"bytes": bytes, "seconds": time.Since(begun).Seconds(), "cpuSeconds": cpuSeconds() - cpuBefore, "peakRssBytes": usage.Maxrss * rssUnit,
	})
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return (time.Duration(usage.Utime.Nano()) + time.Duration(usage.Stime.Nano())).Seconds()
}
