package artifacts_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	artifacts "github.com/dstackai/dstack-artifacts/clients/go"
)

// vectorEntry is a file, folder or link of a case, to be made or to be found.
type vectorEntry struct {
	Path        string
	PathHex     string `json:"path_hex"`
	Text        *string
	Size        *int64
	Seed        *int
	Link        *string
	FIFO        bool
	Mode        *string
	MtimeNS     *string `json:"mtime_ns"`
	CRC32C      *string
	Type        string
	LinkTarget  *string `json:"link_target"`
	PartialIn   *string `json:"partial_in"`
	Length      int
	BytesOfSeed *int `json:"bytes_of_seed"`
}

// filler puts in what a case can't know beforehand.
type filler func(string) string

func (e vectorEntry) path(t testing.TB, fill filler) string {
	t.Helper()
	if e.PathHex == "" {
		return fill(e.Path)
	}
	path, err := hex.DecodeString(e.PathHex)
	if err != nil {
		t.Fatal(err)
	}
	return string(path)
}

func (e vectorEntry) isFolder() bool { return strings.HasSuffix(e.Path, "/") }

func (e vectorEntry) content(t testing.TB) []byte {
	t.Helper()
	if e.Text != nil {
		return []byte(*e.Text)
	}
	if e.Size == nil || e.Seed == nil {
		t.Fatalf("%s is nothing", e.Path)
	}
	return seeded(*e.Seed, int(*e.Size))
}

// seeded makes bytes that are the same everywhere.
func seeded(seed, size int) []byte {
	var out []byte
	for i := 0; len(out) < size; i++ {
		block := sha256.Sum256(fmt.Appendf(nil, "%d:%d", seed, i))
		out = append(out, block[:]...)
	}
	return out[:size]
}

func makeEntries(t testing.TB, fill filler, entries []vectorEntry) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		path := e.path(t, fill)
		if e.PartialIn != nil {
			path = e.partial(t, fill)
		}
		if e.isFolder() {
			check(os.MkdirAll(path, 0o755))
			continue
		}
		check(os.MkdirAll(filepath.Dir(path), 0o755))
		check(os.RemoveAll(path))
		switch {
		case e.Link != nil:
			check(os.Symlink(fill(*e.Link), path))
		case e.FIFO:
			check(syscall.Mkfifo(path, 0o644))
		case e.PartialIn != nil && e.BytesOfSeed != nil:
			check(os.WriteFile(path, seeded(*e.BytesOfSeed, e.Length), 0o600))
		case e.PartialIn != nil:
			check(os.WriteFile(path, e.content(t)[:e.Length], 0o600))
		default:
			check(os.WriteFile(path, e.content(t), 0o644))
		}
	}
	// Modes and times come last, and those of folders behind those of what is in them.
	for _, folders := range []bool{false, true} {
		for _, e := range slices.Backward(entries) {
			if e.isFolder() != folders {
				continue
			}
			if e.MtimeNS != nil {
				check(os.Chtimes(e.path(t, fill), time.Time{}, nanoseconds(t, *e.MtimeNS)))
			}
			if e.Mode != nil {
				check(syscall.Chmod(e.path(t, fill), uint32(octal(t, *e.Mode))))
			}
		}
	}
}

// partial is where a download keeps the first bytes of the entry.
func (e vectorEntry) partial(t testing.TB, fill filler) string {
	t.Helper()
	content := e.content(t)
	crc := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%08x", fill(e.Path), len(content), crc))
	return filepath.Join(*e.PartialIn, fmt.Sprintf(".%x.partial", sum[:16]))
}

func compareTree(t testing.TB, fill filler, root string, entries []vectorEntry) {
	t.Helper()
	left := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != root {
			left[path] = d.IsDir()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(root, e.path(t, fill))
		compareEntry(t, fill, path, e)
		for ; path != filepath.Clean(root) && path != "."; path = filepath.Dir(path) {
			delete(left, path)
		}
	}
	for path := range left {
		t.Errorf("%q is there too", path)
	}
}

func compareEntry(t testing.TB, fill filler, path string, want vectorEntry) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Error(err)
		return
	}
	switch {
	case want.Link != nil:
		if target, err := os.Readlink(path); err != nil || target != fill(*want.Link) {
			t.Errorf("%q links to %q, %v, want %q", path, target, err, *want.Link)
		}
		return
	case want.FIFO:
		if info.Mode().Type() != fs.ModeNamedPipe {
			t.Errorf("%q is no FIFO but %v", path, info.Mode())
		}
	case want.isFolder():
		if !info.IsDir() {
			t.Errorf("%q is no folder but %v", path, info.Mode())
		}
	case !info.Mode().IsRegular():
		t.Errorf("%q is no file but %v", path, info.Mode())
	default:
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want.content(t)) {
			t.Errorf("%q has %d other bytes, %v", path, len(got), err)
		}
	}
	if want.Mode != nil {
		if mode := info.Sys().(*syscall.Stat_t).Mode & 0o7777; int64(mode) != octal(t, *want.Mode) {
			t.Errorf("%q has mode %o, want %s", path, mode, *want.Mode)
		}
	}
	if want.MtimeNS != nil {
		if mtime := nanoseconds(t, *want.MtimeNS); !info.ModTime().Equal(mtime) {
			t.Errorf("%q has time %v, want %v", path, info.ModTime(), mtime)
		}
	}
}

func compareListed(t testing.TB, got artifacts.Entry, want vectorEntry) {
	t.Helper()
	kind := map[fs.FileMode]string{0: "file", fs.ModeDir: "folder", fs.ModeSymlink: "link"}[got.Mode.Type()]
	if got.Path != want.Path || want.Type != "" && kind != want.Type {
		t.Errorf("%s %q, want %s %q", kind, got.Path, want.Type, want.Path)
	}
	if want.Size != nil && got.Size != *want.Size {
		t.Errorf("%q has %d bytes, want %d", got.Path, got.Size, *want.Size)
	}
	if want.Mode != nil && int64(got.Mode.Perm()) != octal(t, *want.Mode) {
		t.Errorf("%q has mode %o, want %s", got.Path, got.Mode.Perm(), *want.Mode)
	}
	if want.MtimeNS != nil && !got.ModTime.Equal(nanoseconds(t, *want.MtimeNS)) {
		t.Errorf("%q has time %v, want %s", got.Path, got.ModTime, *want.MtimeNS)
	}
	if crc := fmt.Sprintf("%08x", got.CRC32C); want.CRC32C != nil && crc != *want.CRC32C {
		t.Errorf("%q has CRC32C %s, want %s", got.Path, crc, *want.CRC32C)
	}
	if want.LinkTarget != nil && got.LinkTarget != *want.LinkTarget {
		t.Errorf("%q links to %q, want %q", got.Path, got.LinkTarget, *want.LinkTarget)
	}
}

func octal(t testing.TB, text string) int64 {
	t.Helper()
	mode, err := strconv.ParseInt(text, 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	return mode
}

func nanoseconds(t testing.TB, text string) time.Time {
	t.Helper()
	ns, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, ns)
}
