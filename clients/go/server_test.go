package artifacts_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// Nothing in the tests takes as long as this; what does hangs.
const patience = 2 * time.Minute

// server is a process of the project's own server.
type server struct {
	url, run string
	args     []string
	env      []string
	// A proxy may end the server while the test is about to start it again.
	mutex   sync.Mutex
	command *exec.Cmd
}

// newServer describes a server on a store in a folder of its own, which starts at the given address; "" is a Unix socket.
func newServer(dir, listen string, args ...string) *server {
	if listen == "" {
		listen = "unix://" + filepath.Join(dir, "s.sock")
	}
	return &server{args: append([]string{"serve", "--store", filepath.Join(dir, "store"), "--listen", listen}, args...)}
}

// start runs the server until it listens.
func (s *server) start() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	var log bytes.Buffer
	s.command = exec.Command(filepath.Join(root, "node_modules/.bin/node"), append([]string{filepath.Join(root, "src/main.ts")}, s.args...)...)
	s.command.Env = append(withoutSettings(os.Environ()), s.env...)
	s.command.Stderr = &log
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.command.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.url = url
		}
		if run, ok := strings.CutPrefix(lines.Text(), "run "); ok {
			s.run = run
			go io.Copy(io.Discard, stdout)
			return nil
		}
	}
	return fmt.Errorf("the server did not start: %w: %s", s.command.Wait(), log.String())
}

// end sends a signal and waits for the process to be gone.
func (s *server) end(signal syscall.Signal) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	_ = s.command.Process.Signal(signal)
	_ = s.command.Wait()
}

// startServer runs a server of the test's own.
func startServer(t testing.TB, listen string, args ...string) *server {
	t.Helper()
	return startServerWith(t, nil, listen, args...)
}

func startServerWith(t testing.TB, env []string, listen string, args ...string) *server {
	t.Helper()
	s := newServer(shortDir(t), listen, args...)
	s.env = env
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

// restart ends the server as a crash does and starts it at the same address.
func (s *server) restart(t testing.TB) {
	t.Helper()
	s.end(syscall.SIGKILL)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

var shared struct {
	once   sync.Once
	server *server
	err    error
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		os.Exit(runChild(os.Args[2:]))
	}
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); isSetting(name) {
			os.Unsetenv(name)
		}
	}
	dir, err := os.MkdirTemp("", "go")
	if err != nil {
		panic(err)
	}
	shared.server = newServer(dir, "")
	code := m.Run()
	if shared.server.command != nil {
		shared.server.end(syscall.SIGKILL)
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// sharedServer is one that tests use which leave it running; each has a project of its own there.
func sharedServer(t testing.TB) *server {
	t.Helper()
	shared.once.Do(func() { shared.err = shared.server.start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// newClient gives a client of the shared server in a project that nothing is in.
func newClient(t testing.TB, options ...artifacts.ClientOption) *artifacts.Client {
	t.Helper()
	return clientOf(t, sharedServer(t), append([]artifacts.ClientOption{artifacts.WithProject(newProject())}, options...)...)
}

// newProject is a name that nobody used before.
func newProject() string { return "p-" + rand.Text() }

func clientOf(t testing.TB, s *server, options ...artifacts.ClientOption) *artifacts.Client {
	t.Helper()
	c, err := artifacts.NewClient(append([]artifacts.ClientOption{artifacts.WithURL(s.url)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// shortDir is a folder for sockets, whose paths may have no more than about 100 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "go")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func isSetting(name string) bool {
	return strings.HasPrefix(name, "DSTACK_") || name == "RUN_NAME" || name == "XDG_RUNTIME_DIR"
}

func withoutSettings(env []string) []string {
	var rest []string
	for _, setting := range env {
		if name, _, _ := strings.Cut(setting, "="); !isSetting(name) {
			rest = append(rest, setting)
		}
	}
	return rest
}
