package artifacts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// module is somebody else's, which uses the client as it is here.
type module struct {
	t   *testing.T
	dir string
	env []string
}

func newModule(t *testing.T, s *server, project string) *module {
	t.Helper()
	root := rootOf(t)
	m := &module{t: t, dir: t.TempDir()}
	m.env = append(withoutSettings(os.Environ()), "GOFLAGS=-mod=mod", "GOWORK=off", "DSTACK_ARTIFACTS_URL="+s.url, "DSTACK_PROJECT="+project)
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.dir, "go.sum"), sums)
	m.do("mod", "init", "example.org/empty")
	m.do("mod", "edit", "-require", "github.com/dstackai/dstack-artifacts@v0.0.0", "-replace", "github.com/dstackai/dstack-artifacts="+root)
	write(t, filepath.Join(m.dir, "datasets/dataset1/train/part-0"), []byte("rows"))
	return m
}

func rootOf(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// do runs a command of Go's.
func (m *module) do(args ...string) string {
	m.t.Helper()
	command := exec.CommandContext(testContext(m.t), "go", args...)
	command.Dir, command.Env = m.dir, m.env
	out, err := command.CombinedOutput()
	if err != nil {
		m.t.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (m *module) run(program string) string {
	m.t.Helper()
	write(m.t, filepath.Join(m.dir, "main.go"), []byte(program))
	return m.do("run", ".")
}

// find gives what a document has between Go's fences that begins so.
func find(t *testing.T, document, start string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(rootOf(t), document))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?s)```go\n("+start+".*?)```").FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	return found
}

func TestTheProgramsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	s := sharedServer(t)
	m := newModule(t, s, newProject())
	programs := find(t, "docs/go.md", "package main\n")
	if len(programs) != 3 {
		t.Fatalf("%d programs", len(programs))
	}
	put(t, clientOf(t, s), "golden-quail-1", "a")
	for i, want := range []string{"1 files are commit 1 of run ", "the last loss is 0.6\n[logs/today.txt]\n", "golden-quail-1 has 1 files of 1 bytes\n"} {
		if out := m.run(programs[i]); !strings.Contains(out, want) {
			t.Errorf("program %d prints %q, want %q", i+1, out, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(m.dir, "my_data/train/part-0")); err != nil || string(got) != "rows" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTheLinesOfTheReadme(t *testing.T) {
	t.Parallel()
	s := sharedServer(t)
	project := newProject()
	m := newModule(t, s, project)
	blocks := find(t, "README.md", "import artifacts ")
	if len(blocks) != 1 {
		t.Fatalf("%d blocks", len(blocks))
	}
	imports, body, _ := strings.Cut(blocks[0], "\n")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", lines)
	}
	program := func(line string) string {
		return "package main\n\nimport (\n\"context\"\n\"log\"\n" + strings.TrimPrefix(imports, "import ") + "\n)\n\nfunc main() {\nctx := context.Background()\n" +
			"if _, err := " + line + "; err != nil {\nlog.Fatal(err)\n}\n}\n"
	}
	m.run(program(lines[0]))
	c := clientOf(t, s, artifacts.WithProject(project))
	listing, err := c.List(testContext(t), artifacts.Tag("my_tag"), artifacts.WithRecursive())
	if err != nil || listing.Files != 1 || !slices.Contains(paths(listing.Entries), "data/train/part-0") {
		t.Fatalf("%+v, %v", listing, err)
	}

	// The second line is of another run, that made a model and the same tag.
	if err := c.DeleteTag(testContext(t), "my_tag"); err != nil {
		t.Fatal(err)
	}
	put(t, c, "sharp-shrimp-1", "output/my_model/weights", "output/log")
	if _, err := c.CreateTag(testContext(t), "my_tag", artifacts.Run("sharp-shrimp-1")); err != nil {
		t.Fatal(err)
	}
	m.run(program(lines[1]))
	if got, err := os.ReadDir(filepath.Join(m.dir, "my_model")); err != nil || len(got) != 1 || got[0].Name() != "weights" {
		t.Errorf("%v, %v", got, err)
	}
}
