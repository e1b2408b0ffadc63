package artifacts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// readVectors reads what all clients agree on.
func readVectors[T any](t *testing.T, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../test/vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	var vectors T
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return vectors
}

func TestNames(t *testing.T) {
	vectors := readVectors[struct {
		Valid   []string
		Invalid []struct{ Name, Problem string }
	}](t, "names.json")
	if len(vectors.Valid) == 0 || len(vectors.Invalid) == 0 {
		t.Fatal("no cases")
	}
	for _, name := range vectors.Valid {
		if problem := nameProblem(name); problem != "" {
			t.Errorf("%q %s", name, problem)
		}
	}
	for _, c := range vectors.Invalid {
		if problem := nameProblem(c.Name); problem != c.Problem {
			t.Errorf("%q %q, want %q", c.Name, problem, c.Problem)
		}
	}
}

func TestPaths(t *testing.T) {
	vectors := readVectors[struct {
		Valid   []struct{ Path, Normalised string }
		Invalid []struct{ Path, Problem string }
		Order   []string
	}](t, "paths.json")
	if len(vectors.Valid) == 0 || len(vectors.Invalid) == 0 || len(vectors.Order) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range vectors.Valid {
		if got, problem := trimPath(c.Path), pathProblem(trimPath(c.Path)); got != c.Normalised || problem != "" {
			t.Errorf("%q is %q and %q, want %q", c.Path, got, problem, c.Normalised)
		}
	}
	for _, c := range vectors.Invalid {
		if problem := pathProblem(trimPath(c.Path)); problem != c.Problem {
			t.Errorf("%q %q, want %q", c.Path, problem, c.Problem)
		}
	}
	shuffled := slices.Sorted(slices.Values(vectors.Order))
	slices.SortFunc(shuffled, comparePaths)
	if !slices.Equal(shuffled, vectors.Order) {
		t.Errorf("order %q, want %q", shuffled, vectors.Order)
	}
}

func TestLinkTargets(t *testing.T) {
	vectors := readVectors[struct {
		Links []struct {
			Path, Target string
			OK           bool
		}
	}](t, "link-targets.json")
	if len(vectors.Links) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range vectors.Links {
		if problem := linkProblem(c.Path, c.Target); (problem == "") != c.OK {
			t.Errorf("%q -> %q %q, want ok %v", c.Path, c.Target, problem, c.OK)
		}
	}
}

func TestUploadDefaults(t *testing.T) {
	vectors := readVectors[struct {
		Cases []struct {
			LocalPath    string  `json:"local_path"`
			ArtifactPath *string `json:"artifact_path"`
			IsFile       bool    `json:"is_file"`
			Path, Error  string
		}
	}](t, "upload-defaults.json")
	if len(vectors.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range vectors.Cases {
		path, err := uploadPath(c.LocalPath, c.ArtifactPath, c.IsFile)
		if c.Error == "" && (err != nil || path != c.Path) || c.Error != "" && (err == nil || !strings.Contains(err.Error(), c.Error)) {
			t.Errorf("%+v: %q, %v", c, path, err)
		}
	}
}

func TestPartialNames(t *testing.T) {
	vectors := readVectors[struct {
		Files []struct {
			Path, CRC32C, Name string
			Size               uint64
		}
	}](t, "partial-names.json")
	if len(vectors.Files) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range vectors.Files {
		crc, err := strconv.ParseUint(c.CRC32C, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if name := partialName(c.Path, c.Size, uint32(crc)); name != c.Name {
			t.Errorf("%+v: %s", c, name)
		}
	}
}

func TestLimits(t *testing.T) {
	limits := readVectors[map[string]any](t, "limits.json")
	pages := limits["max_page_size"].(map[string]any)
	id := func(length int) bool { return uploadIDPattern.MatchString(strings.Repeat("a", length)) }
	number := func(name string) float64 { return limits[name].(float64) }
	for name, got := range map[string]int{
		"timeout_ms":            int(defaultTimeout / time.Millisecond),
		"retry_first_wait_ms":   int(longestWait(0) / time.Millisecond),
		"retry_longest_wait_ms": int(longestWait(100) / time.Millisecond),
		"retry_wait_factor":     int(longestWait(1) / longestWait(0)),
		"changing_file_reads":   changingReads,
		"damaged_file_sends":    damagedSends,
		"damaged_file_fetches":  damagedFetches,
		"max_chunk_bytes":       chunkBytes,
		"max_path_bytes":        maxPathBytes,
		"max_segment_bytes":     maxSegmentBytes,
		"max_link_target_bytes": maxLinkTargetBytes,
	} {
		if number(name) != float64(got) {
			t.Errorf("%s is %d, want %v", name, got, limits[name])
		}
	}
	for name, got := range map[string]int{
		"list_entries": entriesPage, "get_upload": persistedPage, "list_runs": listedPage, "list_tags": listedPage, "list_uploads": listedPage,
	} {
		if pages[name].(float64) < float64(got) {
			t.Errorf("pages of %s have %d items, a server gives %v", name, got, pages[name])
		}
	}
	shortest, longest, name := int(number("min_id_length")), int(number("max_id_length")), int(number("max_name_length"))
	if id(shortest-1) || !id(shortest) || !id(longest) || id(longest+1) {
		t.Errorf("ids are not of %d to %d characters", shortest, longest)
	}
	if nameProblem(strings.Repeat("a", name)) != "" || nameProblem(strings.Repeat("a", name+1)) == "" {
		t.Errorf("names are not of up to %d characters", name)
	}
	if number("max_held_files") < comparedPage {
		t.Errorf("%d held files are asked for at once", comparedPage)
	}
	if bits := fmt.Sprintf("%o", fs.ModePerm); limits["permission_bits"] != bits {
		t.Errorf("permission bits are %s", bits)
	}
	t.Setenv("DSTACK_PROJECT", "")
	if project := environmentConfig().project; limits["default_project"] != project {
		t.Errorf("the default project is %q", project)
	}
}

type errorCase struct {
	Reason                        Reason
	Code, Upload, Download, Other string
	Retryable                     bool
	RetryAfterMS                  *int64 `json:"retry_after_ms"`
}

func TestErrorsOfReasons(t *testing.T) {
	vectors := readVectors[struct {
		Domain        string
		Classes       []struct{ Name, Parent string }
		Reasons       []errorCase
		WithoutReason []errorCase `json:"without_reason"`
	}](t, "errors.json")
	if vectors.Domain != errorDomain || len(vectors.Reasons) == 0 || len(vectors.WithoutReason) == 0 {
		t.Fatal("no cases")
	}
	parents := map[string]string{}
	for _, class := range vectors.Classes {
		parents[class.Name] = class.Parent
	}
	client := &Client{url: "unix:///nowhere"}
	for _, c := range slices.Concat(vectors.Reasons, vectors.WithoutReason) {
		t.Run(fmt.Sprint(c.Code, " ", c.Reason), func(t *testing.T) {
			said := errorOf(t, vectors.Domain, c)
			if answer := answerOf(said); answer.retryable() != c.Retryable {
				t.Errorf("retryable %v, want %v", answer.retryable(), c.Retryable)
			}
			for op, class := range map[operation]string{opUpload: c.Upload, opDownload: c.Download, opOther: c.Other} {
				err := op.wrap(client.failure(said, true))
				if got := strings.TrimPrefix(fmt.Sprintf("%T", err), "*artifacts."); got != class {
					t.Errorf("%v makes it a %s, want %s", op, got, class)
				}
				for at := class; at != ""; at = parents[at] {
					if !isOfClass(t, err, at) {
						t.Errorf("errors.As finds no %s in a %s", at, class)
					}
				}
				if c.Reason != "" && !errors.Is(err, c.Reason) {
					t.Errorf("%v has another reason", err)
				}
			}
		})
	}
}

// errorOf makes the error that a server's answer becomes in grpc.
func errorOf(t *testing.T, domain string, c errorCase) error {
	t.Helper()
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(strconv.Quote(c.Code))); err != nil {
		t.Fatal(err)
	}
	var details []protoadapt.MessageV1
	if c.Reason != "" {
		details = append(details, &errdetails.ErrorInfo{Reason: string(c.Reason), Domain: domain})
	}
	if c.RetryAfterMS != nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Duration(*c.RetryAfterMS) * time.Millisecond)})
	}
	s, err := status.New(code, "no luck").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func isOfClass(t *testing.T, err error, class string) bool {
	t.Helper()
	var ok bool
	switch class {
	case "DstackError":
		_, ok = errors.AsType[*DstackError](err)
	case "ArtifactsUploadError":
		_, ok = errors.AsType[*ArtifactsUploadError](err)
	case "ArtifactsDownloadError":
		_, ok = errors.AsType[*ArtifactsDownloadError](err)
	case "RunNotFoundError":
		_, ok = errors.AsType[*RunNotFoundError](err)
	case "TagNotFoundError":
		_, ok = errors.AsType[*TagNotFoundError](err)
	default:
		t.Fatalf("no class %s", class)
	}
	return ok
}
