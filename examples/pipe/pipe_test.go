package pipe_test

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

const (
	// More than either service may have in memory.
	fileBytes = 300 << 20
	// What a runtime takes by itself, and what is under way.
	goMemoryBytes   = 150 << 20
	nodeMemoryBytes = 250 << 20
)

func TestAnArtifactGoesFromStoreToStoreThroughAPipe(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(root, "node_modules/.bin/node")
	storeA, storeB := startStore(t, node, root), startStore(t, node, root)

	// Each must know the other, so that one of the ports is chosen first.
	goService, tsService := newProcess(t, buildGo(t), "127.0.0.1:0"), newProcess(t, node, filepath.Join(root, "examples/pipe/ts/main.ts"), "0")
	tsService.env = append(tsService.env, "DSTACK_ARTIFACTS_URL="+storeB.url)
	port := freePort(t)
	goService.env = append(goService.env, "DSTACK_ARTIFACTS_URL="+storeA.url, "OTHER=http://127.0.0.1:"+port)
	goService.start(t)
	tsService.env = append(tsService.env, "OTHER="+goService.url)
	tsService.args[len(tsService.args)-1] = port
	tsService.start(t)

	a, b := clientOf(t, storeA.url), clientOf(t, storeB.url)
	const path = "models/a b/weights"
	uploaded, err := a.UploadReader(t.Context(), path, &pattern{left: fileBytes}, artifacts.WithTag("first"))
	if err != nil {
		t.Fatal(err)
	}
	post(t, tsService.url+"/first/models/a%20b/weights?as=second", http.StatusOK)
	post(t, goService.url+"/second/models/a%20b/weights?as=third", http.StatusOK)
	for name, made := range map[string]struct {
		client *artifacts.Client
		tag    string
	}{"by TypeScript": {b, "second"}, "by Go": {a, "third"}} {
		sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
		d, err := made.client.DownloadWriter(t.Context(), artifacts.Tag(made.tag), path, sum)
		if err != nil || d.Bytes != uploaded.Bytes || sum.Sum32() != patternCRC() {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	goService.check(t, goMemoryBytes)
	tsService.check(t, nodeMemoryBytes)

	// What is not there, or is there already, is an error and leaves nothing.
	post(t, tsService.url+"/none/x?as=fourth", http.StatusBadGateway)
	post(t, goService.url+"/none/x?as=fourth", http.StatusBadGateway)
	post(t, goService.url+"/second/models/a%20b/weights?as=first", http.StatusBadGateway)
	for _, c := range []*artifacts.Client{a, b} {
		if _, err := c.GetTag(t.Context(), "fourth"); err == nil {
			t.Error("a tag was made of nothing")
		}
	}
}

func TestAnArtifactWhoseSourceIsLostOnTheWayIsNotThere(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(root, "node_modules/.bin/node")
	store := startStore(t, node, root)
	lost := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(fileBytes))
		_, _ = io.CopyN(w, &pattern{left: fileBytes}, 20<<20)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(lost.Close)
	for _, service := range []*process{
		newProcess(t, buildGo(t), "127.0.0.1:0"),
		newProcess(t, node, filepath.Join(root, "examples/pipe/ts/main.ts"), "0"),
	} {
		service.env = append(service.env, "DSTACK_ARTIFACTS_URL="+store.url, "OTHER="+lost.URL)
		service.start(t)
		post(t, service.url+"/tag/file?as=tag", http.StatusBadGateway)
	}
	c := clientOf(t, store.url)
	if runs, err := c.Runs(t.Context()); err != nil || len(runs) > 0 {
		t.Errorf("%+v, %v", runs, err)
	}
	if tags, err := c.Tags(t.Context()); err != nil || len(tags) > 0 {
		t.Errorf("%+v, %v", tags, err)
	}
}

func buildGo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "service")
	if out, err := exec.Command("go", "build", "-o", program, "./go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// pattern gives bytes that differ from block to block.
type pattern struct{ block, left int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left, 4096)
	copy(b, bytes.Repeat(fmt.Appendf(nil, "%08d", p.block), 512)[:n])
	p.block++
	p.left -= n
	return n, nil
}

func patternCRC() uint32 {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, _ = io.CopyBuffer(struct{ io.Writer }{sum}, &pattern{left: fileBytes}, make([]byte, 4096))
	return sum.Sum32()
}

func post(t *testing.T, url string, status int) {
	t.Helper()
	response, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if said, _ := io.ReadAll(response.Body); response.StatusCode != status {
		t.Errorf("%s: %s: %s", url, response.Status, said)
	}
}

func clientOf(t *testing.T, url string) *artifacts.Client {
	t.Helper()
	c, err := artifacts.NewClient(artifacts.WithURL(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// freePort is one that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// process is one that says where it listens.
type process struct {
	program string
	args    []string
	env     []string
	dir     string
	url     string
	command *exec.Cmd
}

func newProcess(t *testing.T, program string, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	return &process{program: program, args: args, env: env, dir: dir}
}

func startStore(t *testing.T, node, root string) *process {
	t.Helper()
	dir, err := os.MkdirTemp("", "pipe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := newProcess(t, node, filepath.Join(root, "src/main.ts"), "serve", "--quiet", "--store", filepath.Join(dir, "store"),
		"--listen", "unix://"+filepath.Join(dir, "s.sock"))
	p.start(t)
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.command = exec.Command(p.program, p.args...)
	p.command.Dir, p.command.Env, p.command.Stderr = p.dir, p.env, os.Stderr
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.command.Process.Signal(syscall.SIGKILL)
		_ = p.command.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			p.url = url
			go io.Copy(io.Discard, stdout)
			return
		}
	}
	t.Fatalf("%s did not start", p.program)
}

// check looks at what the process has had in memory at the most, and whether it left anything on the disk.
func (p *process) check(t *testing.T, memoryBytes int64) {
	t.Helper()
	if peak := p.read(t, "status", "VmHWM:") * 1024; peak > memoryBytes {
		t.Errorf("%s took %d MiB for %d", p.program, peak>>20, fileBytes>>20)
	}
	if written := p.read(t, "io", "write_bytes:"); written > 1<<20 {
		t.Errorf("%s wrote %d bytes to the disk", p.program, written)
	}
	if left, err := os.ReadDir(p.dir); err != nil || len(left) > 0 {
		t.Errorf("%s left %v, %v", p.program, left, err)
	}
}

// read gives a number that the system tells of the process.
func (p *process) read(t *testing.T, file, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.command.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), name)
	number, err := strconv.ParseInt(strings.Fields(rest + " none")[0], 10, 64)
	if err != nil {
		t.Fatalf("%s has no %s", file, name)
	}
	return number
}
