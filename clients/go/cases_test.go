package artifacts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// vectorCase is one of test/vectors/cases.json, whose form is described beside it.
type vectorCase struct {
	Name  string
	Env   map[string]string
	Steps []step
}

type step struct {
	Make           []vectorEntry
	Remove         []string
	Upload         *transferStep
	Download       *transferStep
	CreateTag      *tagStep `json:"create_tag"`
	List           *listStep
	Tree           *string
	RemovePartials *string `json:"remove_partials"`
	Entries        []vectorEntry
	Count          int
	Result         map[string]any
	Error          *struct {
		Class    string
		Contains []string
	}
}

type transferStep struct {
	LocalPath    *string `json:"local_path"`
	ArtifactPath *string `json:"artifact_path"`
	Run, Tag     *string
	Symlinks     string
}

type tagStep struct {
	Tag, Run, Path string
	Commit         uint64
}

type listStep struct {
	Run, Prefix string
	Recursive   bool
}

var generatedName = regexp.MustCompile(`^[a-z]+-[a-z]+-\d+$`)

func TestCases(t *testing.T) {
	data, err := os.ReadFile("../../test/vectors/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct{ Cases []vectorCase }
	decoder := json.NewDecoder(bytes.NewReader(data))
	// What this runner doesn't know must not pass unseen.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Cases) == 0 {
		t.Fatal("no cases")
	}
	sharedServer(t)
	for _, c := range vectors.Cases {
		t.Run(c.Name, func(t *testing.T) { runCase(t, c) })
	}
}

// caseRun is a case while it runs.
type caseRun struct {
	t      *testing.T
	ctx    context.Context
	client *artifacts.Client
	cwd    string
	run    string
}

func runCase(t *testing.T, c vectorCase) {
	dir := t.TempDir()
	r := &caseRun{t: t, ctx: testContext(t), cwd: filepath.Join(dir, "work")}
	for _, folder := range []string{r.cwd, filepath.Join(dir, "home")} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(r.cwd)
	t.Setenv("HOME", filepath.Join(dir, "home"))
	for name, value := range c.Env {
		t.Setenv(name, value)
	}
	r.client = newClient(t, artifacts.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	for i, s := range c.Steps {
		r.step(s)
		if t.Failed() {
			t.Fatalf("step %d of %d", i+1, len(c.Steps))
		}
	}
}

func (r *caseRun) step(s step) {
	r.t.Helper()
	switch {
	case s.Make != nil:
		makeEntries(r.t, r.fill, s.Make)
	case s.Remove != nil:
		for _, path := range s.Remove {
			if err := os.Remove(path); err != nil {
				r.t.Fatal(err)
			}
		}
	case s.Upload != nil:
		result, err := r.upload(s.Upload)
		r.compare(s, result, err)
	case s.Download != nil:
		result, err := r.download(s.Download)
		r.compare(s, result, err)
	case s.CreateTag != nil:
		if _, err := r.client.CreateTag(r.ctx, s.CreateTag.Tag, artifacts.Run(r.fill(s.CreateTag.Run)).At(s.CreateTag.Commit),
			artifacts.WithTagPath(s.CreateTag.Path)); err != nil {
			r.t.Fatal(err)
		}
	case s.List != nil:
		r.list(s)
	case s.Tree != nil:
		compareTree(r.t, r.fill, r.fill(*s.Tree), s.Entries)
	case s.RemovePartials != nil:
		names, err := filepath.Glob(filepath.Join(*s.RemovePartials, ".*.partial"))
		if err != nil || len(names) != s.Count {
			r.t.Fatalf("partial files %q, want %d", names, s.Count)
		}
		for _, name := range names {
			os.Remove(name)
		}
	default:
		r.t.Fatal("a step without anything to do")
	}
}

// fill puts in what a case can't know beforehand.
func (r *caseRun) fill(text string) string {
	return strings.NewReplacer("{cwd}", r.cwd, "{run}", r.run, "{server_run}", shared.server.run).Replace(text)
}

func (r *caseRun) upload(s *transferStep) (map[string]any, error) {
	var options []artifacts.UploadOption
	if s.ArtifactPath != nil {
		options = append(options, artifacts.WithArtifactPath(r.fill(*s.ArtifactPath)))
	}
	if s.Run != nil {
		options = append(options, artifacts.WithRun(r.fill(*s.Run)))
	}
	if s.Tag != nil {
		options = append(options, artifacts.WithTag(*s.Tag))
	}
	switch s.Symlinks {
	case "", "follow":
	case "preserve":
		options = append(options, artifacts.WithSymlinks(artifacts.PreserveSymlinks))
	default:
		r.t.Fatalf("symlinks %q", s.Symlinks)
	}
	u, err := r.client.Upload(r.ctx, r.fill(*s.LocalPath), options...)
	if err != nil {
		return nil, err
	}
	r.run = u.Run
	var tag any
	if u.Tag != "" {
		tag = u.Tag
	}
	return map[string]any{
		"run": u.Run, "commit": float64(u.Commit), "tag": tag, "files": float64(u.Files), "bytes": float64(u.Bytes), "skipped": float64(u.Skipped),
	}, nil
}

func (r *caseRun) download(s *transferStep) (map[string]any, error) {
	var ref artifacts.Ref
	switch {
	case s.Run != nil && s.Tag != nil:
		// A Ref is one of the two, so that the compiler refuses what this case has the others refuse.
		return nil, &artifacts.ArtifactsDownloadError{DstackError: artifacts.DstackError{Message: "run and tag"}}
	case s.Run != nil:
		ref = artifacts.Run(r.fill(*s.Run))
	case s.Tag != nil:
		ref = artifacts.Tag(*s.Tag)
	}
	var options []artifacts.DownloadOption
	if s.ArtifactPath != nil {
		options = append(options, artifacts.WithArtifactPath(r.fill(*s.ArtifactPath)))
	}
	if s.LocalPath != nil {
		options = append(options, artifacts.WithLocalPath(r.fill(*s.LocalPath)))
	}
	d, err := r.client.Download(r.ctx, ref, options...)
	if err != nil {
		return nil, err
	}
	return map[string]any{"run": d.Run, "commit": float64(d.Commit), "files": float64(d.Files), "bytes": float64(d.Bytes)}, nil
}

func (r *caseRun) compare(s step, result map[string]any, err error) {
	r.t.Helper()
	if s.Error != nil {
		if err == nil {
			r.t.Fatalf("no error but %v, want %+v", result, *s.Error)
		}
		if class := strings.TrimPrefix(fmt.Sprintf("%T", err), "*artifacts."); class != s.Error.Class {
			r.t.Errorf("%v is a %s, want %s", err, class, s.Error.Class)
		}
		for _, part := range s.Error.Contains {
			if !strings.Contains(err.Error(), r.fill(part)) {
				r.t.Errorf("%q doesn't contain %q", err, part)
			}
		}
		if strings.ContainsAny(err.Error(), "\n\r") {
			r.t.Errorf("%q is not one line", err)
		}
		return
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for name, want := range s.Result {
		got := result[name]
		if text, ok := want.(string); ok && text == "{generated}" {
			if !generatedName.MatchString(got.(string)) {
				r.t.Errorf("%s is %v, which isn't generated", name, got)
			}
			continue
		} else if ok {
			want = r.fill(text)
		}
		if got != want {
			r.t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func (r *caseRun) list(s step) {
	r.t.Helper()
	options := []artifacts.ListOption{artifacts.WithPrefix(s.List.Prefix)}
	if s.List.Recursive {
		options = append(options, artifacts.WithRecursive())
	}
	listing, err := r.client.List(r.ctx, artifacts.Run(r.fill(s.List.Run)), options...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.compare(s, map[string]any{"files": float64(listing.Files), "bytes": float64(listing.Bytes)}, nil)
	if len(listing.Entries) != len(s.Entries) {
		r.t.Fatalf("%d entries, want %d", len(listing.Entries), len(s.Entries))
	}
	for i, want := range s.Entries {
		compareListed(r.t, listing.Entries[i], want)
	}
}
